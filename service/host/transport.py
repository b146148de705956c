"""What the server grants a connection: addresses and ports, sizes, ages, keepalive and encryption."""

import socket
from dataclasses import dataclass

import grpc

from service.host.tls import Certificates, TlsFiles

MIB = 1 << 20


class TransportError(RuntimeError):
    """The server cannot listen where it was told to; the message says why and what to do."""


@dataclass(frozen=True)
class Transport:
    """How the server listens.

    Attributes:
        host: address.
        port: 0 takes a free one.
        reuse_port: share the port with others who say so too; otherwise one that is taken is refused.
        tls: None for plain text.
        max_message_mb: largest request, in MiB.
        most_unseen: calls that may have come and not been looked at yet. gRPC resets those beyond, some by
            chance and all from twice as many: to refuse them in words would be too much work.
        keepalive_s: a silent connection is probed after so long, and closed if it does not answer.
        max_connection_age_s: a connection is asked to end after about so long, so that clients spread
            over new servers; 0 for never.
        max_connection_grace_s: how long its calls may then go on.
    """

    host: str = "127.0.0.1"
    port: int = 0
    reuse_port: bool = False
    tls: TlsFiles | None = None
    max_message_mb: float = 4.0
    most_unseen: int = 64
    keepalive_s: float = 60.0
    max_connection_age_s: float = 0.0
    max_connection_grace_s: float = 10.0

    def options(self) -> list[tuple[str, int]]:
        """As gRPC names them."""
        size = int(self.max_message_mb * MIB)
        options = [
            # Two servers on one port by mistake would answer in turns.
            ("grpc.so_reuseport", int(self.reuse_port)),
            ("grpc.max_receive_message_length", size),
            ("grpc.server.max_pending_requests", self.most_unseen),
            ("grpc.server.max_pending_requests_hard_limit", 2 * self.most_unseen),
            # Refused before it is taken in: what a client sends as metadata is memory too.
            ("grpc.max_metadata_size", 16 << 10),
            ("grpc.keepalive_time_ms", int(self.keepalive_s * 1e3)),
            ("grpc.keepalive_timeout_ms", 20_000),
            # Clients may probe as often as we do, with or without a call under way.
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ]
        if self.max_connection_age_s:
            options += [
                ("grpc.max_connection_age_ms", int(self.max_connection_age_s * 1e3)),
                ("grpc.max_connection_age_grace_ms", int(self.max_connection_grace_s * 1e3)),
            ]
        return options

    def longest_s(self) -> float:
        """How long a connection lasts at most: gRPC lets ages differ by a tenth, to spread them."""
        return self.max_connection_age_s * 1.1 + self.max_connection_grace_s

    def listen(self, server: grpc.Server) -> int:
        """Let `server` listen; returns the port.

        Raises:
            TransportError: the port is taken.
            TlsError: a certificate cannot be used.
        """
        address = f"{self.host}:{self.port}"
        certificates = None if self.tls is None else Certificates(self.tls)
        try:
            if certificates is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, certificates.credentials)
        except RuntimeError as error:
            raise TransportError(
                f"cannot listen on {address}: {error}; choose another with --port"
            ) from error


def hold_port(host: str, port: int, reuse_port: bool) -> socket.socket:
    """A socket that keeps `port` for servers that share it, and never listens itself.

    Args:
        port: 0 takes a free one.
        reuse_port: others may serve there already, as in a rolling restart.

    Raises:
        TransportError: the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if not reuse_port and port:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # Connections that linger from a server that stopped are no server.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
                probe.listen()
        held = socket.socket(family, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if reuse_port or port:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
    except OSError as error:
        raise TransportError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port, or join the "
            "servers there with --reuse-port"
        ) from error
    return held
