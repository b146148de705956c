"""Encryption: certificates that are checked by both sides, and renewed while the server runs."""

import os
import ssl
import subprocess
from pathlib import Path

import grpc
import pytest

from service.host.listening import Operation
from service.host.tls import TlsError, TlsFiles, check_pair
from service.host.transport import Transport
from tests.certificates import Authority
from tests.listener import call, echoing


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> tuple[Path, Path]:
    return authority.sign("server")


def echoed(address: str, credentials: grpc.ChannelCredentials) -> bytes:
    """An answer through `credentials`."""
    with grpc.secure_channel(address, credentials) as channel:
        return call(channel)


def test_a_client_that_trusts_the_authority_is_answered(
    authority: Authority, pair: tuple[Path, Path]
) -> None:
    with echoing(Operation(Transport(tls=TlsFiles(*pair)))) as address:
        assert echoed(address, grpc.ssl_channel_credentials(authority.cert.read_bytes())) == b"|"
        with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
            echoed(address, grpc.ssl_channel_credentials())
        with grpc.insecure_channel(address) as plain, pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
            call(plain)


def test_with_a_client_authority_a_client_needs_a_certificate(
    authority: Authority, pair: tuple[Path, Path]
) -> None:
    cert, key = authority.sign("client")
    root = authority.cert.read_bytes()
    with echoing(Operation(Transport(tls=TlsFiles(*pair, authority.cert)))) as address:
        known = grpc.ssl_channel_credentials(root, key.read_bytes(), cert.read_bytes())
        assert echoed(address, known) == b"|"
        with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
            echoed(address, grpc.ssl_channel_credentials(root))


def test_a_renewed_certificate_is_shown_to_the_next_client(authority: Authority, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def install(serial: int) -> None:
        for source, target in zip(authority.sign("renewed", serial), (cert, key), strict=True):
            target.write_bytes(source.read_bytes())
            os.utime(target, ns=(serial, serial))

    install(1)
    trust = grpc.ssl_channel_credentials(authority.cert.read_bytes())
    with echoing(Operation(Transport(tls=TlsFiles(cert, key)))) as address:
        host, port = address.split(":")
        before = ssl.get_server_certificate((host, int(port)))
        install(2)
        after = ssl.get_server_certificate((host, int(port)))
        assert before != after
        key.write_text("half of a ke")
        os.utime(key, ns=(3, 3))
        assert ssl.get_server_certificate((host, int(port))) == after
        assert echoed(address, trust) == b"|"


def test_files_that_do_not_fit_are_named(authority: Authority, pair: tuple[Path, Path]) -> None:
    _, other = authority.sign("other")
    with pytest.raises(TlsError, match=r"server\.pem and .*other\.key are no"):
        check_pair(pair[0], other)
    with pytest.raises(TlsError, match=r"none\.pem"):
        check_pair(Path("none.pem"), pair[1])
    with (
        pytest.raises(TlsError, match="tls_"),
        echoing(Operation(Transport(tls=TlsFiles(pair[0], Path("none.key"))))),
    ):
        pytest.fail("a server listens without a key")


def test_a_key_with_a_passphrase_is_refused_instead_of_asked_for(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", str(pair[1]), "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(TlsError, match="passphrase"):
        check_pair(pair[0], locked)
