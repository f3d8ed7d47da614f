"""The errors of OAuth 2.0 (RFC 6749), as Hydra words and numbers them."""


class OAuthError(Exception):
    """A refusal: `error` is the code that clients act on, `status` the HTTP status."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
