"""Certificates for tests."""

from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from origin.shared.clock import utcnow

_LOOPBACK = x509.IPAddress(ip_address("127.0.0.1"))
_A_DAY = timedelta(days=1)


class Authority:
    """Issues certificates. `path` is the file of its own certificate."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        made = _builder(self._name, self._name, self._key).add_extension(constraints, critical=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def issue(
        self,
        name: str,
        hosts: Sequence[x509.GeneralName] = (_LOOPBACK,),
        ends_in: timedelta = _A_DAY,
    ) -> tuple[Path, Path]:
        """Write a certificate for these hosts, and its key; return both paths.

        :param name: The certificate's common name, which PostgreSQL takes for a user's.
        :param ends_in: The time that is left of it.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            _builder(_named(name), self._name, key, ends_in)
            .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        certificate, key_path = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        certificate.write_bytes(made.public_bytes(Encoding.PEM))
        key_path.touch(mode=0o600)
        key_path.write_bytes(_pem(key))
        return certificate, key_path

    def issue_together(
        self,
        name: str,
        hosts: Sequence[x509.GeneralName] = (_LOOPBACK,),
        ends_in: timedelta = _A_DAY,
    ) -> Path:
        """Write a certificate and its key into one file; return its path. See `issue`."""
        certificate, key = self.issue(name, hosts, ends_in)
        path = self._folder / f"{name}.both.pem"
        path.write_bytes(certificate.read_bytes() + key.read_bytes())
        return path


def loopback_certificate(folder: Path) -> Path:
    """Write a self-signed certificate for 127.0.0.1 and its key into one file; return its path."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        _builder(_named("peer"), _named("peer"), key)
        .add_extension(x509.SubjectAlternativeName([_LOOPBACK]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "peer.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM) + _pem(key))
    return path


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    ends_in: timedelta = _A_DAY,
) -> x509.CertificateBuilder:
    now = utcnow()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + ends_in)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
