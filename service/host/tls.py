"""TLS: the server's certificate, and who may connect, from files that may be renewed while it serves."""

import logging
from dataclasses import dataclass
from pathlib import Path

import grpc

logger = logging.getLogger(__name__)


class TlsError(RuntimeError):
    """A certificate or key cannot be used; the message names the file."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files.

    Attributes:
        cert: the server's certificate, intermediates after it.
        key: its private key.
        client_ca: who signs the clients' certificates; None asks clients for none.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None

    def all(self) -> tuple[Path, ...]:
        """Those that are set."""
        return (self.cert, self.key) if self.client_ca is None else (self.cert, self.key, self.client_ca)


class Certificates:
    """Credentials that follow their files: the next handshake after a change sees the new ones.

    Raises:
        TlsError: a file cannot be read, or the certificate and key do not belong together.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = self._stamp()
        self._configuration = self._load()
        self.credentials = grpc.dynamic_ssl_server_credentials(
            self._configuration, self._fetch, require_client_authentication=files.client_ca is not None
        )

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        try:
            stats = [path.stat() for path in self._files.all()]
        except OSError as error:
            raise TlsError(f"{error.filename}: {error.strerror}: check the tls_* settings") from error
        return tuple((stat.st_mtime_ns, stat.st_ino) for stat in stats)

    def _load(self) -> grpc.ServerCertificateConfiguration:
        files = self._files
        check_pair(files.cert, files.key)
        root = None if files.client_ca is None else _read(files.client_ca)
        return grpc.ssl_server_certificate_configuration(
            [(_read(files.key), _read(files.cert))], root_certificates=root
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration:
        """Called at each handshake; a renewal that is half done changes nothing yet."""
        try:
            stamp = self._stamp()
            if stamp != self._seen:
                self._configuration, self._seen = self._load(), stamp
                logger.info("TLS files were renewed")
        except TlsError as error:
            logger.warning("the TLS files of before serve on: %s", error)
        return self._configuration


def check_pair(cert: Path, key: Path) -> None:
    """Make sure that `cert` can be used with `key`, and that no passphrase is asked for.

    Raises:
        TlsError: it cannot.
    """
    import ssl

    _read(cert), _read(key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        raise TlsError(
            f"{cert} and {key} are no certificate and private key that belong together, in PEM and "
            f"without a passphrase ({error})"
        ) from error


def _no_passphrase() -> bytes:
    raise ValueError("the key has a passphrase")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(f"{path}: {error.strerror}: check the tls_* settings") from error
