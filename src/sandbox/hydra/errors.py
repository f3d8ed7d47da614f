"""The errors of OAuth 2.0 (RFC 6749)."""


class OAuthError(Exception):
    """An OAuth error: `error` is its code in RFC 6749, `status` the HTTP status."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
