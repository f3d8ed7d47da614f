"""Files that operators mount: secrets, certificates and keys.

Errors show neither a file's path nor its content: an operator may have put the secret in place of the path.
"""

import ssl

MAX_FILE_BYTES = 1024 * 1024
"""A longer file can't be a secret or a certificate, so the path is wrong."""


def read_secret(path: str) -> str:
    """Return a file's text without one newline at its end.

    :raises ValueError: with the reason why the file has no usable text.
    """
    try:
        text = _read(path).decode()
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8") from None
    text = text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")
    if not text:
        raise ValueError("the file is empty")
    if "\0" in text:
        raise ValueError("the file has a null character")
    return text


def check_readable(path: str) -> None:
    """Check that a file can be read.

    :raises ValueError: with the reason why not.
    """
    _read(path)


def check_authorities(path: str) -> None:
    """Check that a file has certificates of authorities, in PEM.

    :raises ValueError: with the reason why not.
    """
    _read(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError("the file has no certificates in PEM") from None


def check_certificate(certificate_path: str, key_path: str) -> None:
    """Check that the key's file can be read and has the key of the certificate, in PEM.

    :raises ValueError: with the reason why not.
    """
    _read(key_path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
            certificate_path,
            key_path,
            # Without a function, OpenSSL asks for the passphrase on the terminal.
            password=lambda: "",
        )
    except (ssl.SSLError, ValueError):
        raise ValueError(
            "the file has no key of the certificate, in PEM and without a passphrase"
        ) from None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a path may not be UTF-8
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"the file can't be read ({error.strerror})") from None
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"the file is longer than {MAX_FILE_BYTES} bytes")
    return content
