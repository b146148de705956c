"""gRPC over HTTP/2, the client's side, frame by frame: next to no work a call, and a body of its own each.

h2load repeats one body for ever, and a server that caches would soon answer from memory alone. What is
needed of HTTP/2 (RFC 9113) and HPACK (RFC 7541) is little where one end is ours: header blocks are literal
constants, and a header table of size 0 makes the server's literal too.
"""

import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
RESET = -1
"""The status of a call whose stream the server reset."""

_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_LARGEST_WINDOW = 2**31 - 1
_DEFAULT_WINDOW = 65_535
_LARGEST_FRAME = 16_384
_TOP_UP = 1 << 24
_HEADER_TABLE_SIZE, _MAX_STREAMS, _INITIAL_WINDOW = 1, 3, 4
_STATUS = b"\x0bgrpc-status"


class HungUp(RuntimeError):
    """The server ended the connection; the message says at what."""


class Answered(NamedTuple):
    """A call that ended: its stream and its gRPC status."""

    stream: int
    status: int


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">I", len(payload) << 8 | kind)[0:4] + struct.pack(">BI", flags, stream) + payload


def header_block(method: str, authority: str, timeout: str) -> bytes:
    """What opens a call: literals and entries of HPACK's static table, which depend on no call before.

    Args:
        method: `/package.Service/Method`.
        timeout: as gRPC writes it, such as `250m` for milliseconds.
    """
    post, plain_http, path, host, content_type = b"\x83", b"\x86", b"\x04", b"\x01", b"\x0f\x10"
    return b"".join(
        (
            post + plain_http,
            path + _text(method) + host + _text(authority),
            content_type + _text("application/grpc"),
            b"\x00" + _text("te") + _text("trailers"),
            b"\x00" + _text("grpc-timeout") + _text(timeout),
        )
    )


def _text(value: str) -> bytes:
    encoded = value.encode()
    if len(encoded) > 126:
        raise ValueError(f"{value!r} does not fit into one byte of length")
    return bytes([len(encoded)]) + encoded


class Connection:
    """One connection, with as many calls under way as the server allows.

    Args:
        port: of this machine.
        headers: as `header_block` makes them, the same for every call.

    Raises:
        OSError: nobody listens there.
    """

    def __init__(self, port: int, headers: bytes) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = headers
        self._rest = b""
        self._stream = -1
        self._window = _DEFAULT_WINDOW
        self._received = 0
        self._most_streams = 1 << 30
        self._under_way: set[int] = set()
        self._held: deque[tuple[int, bytes]] = deque()
        settings = struct.pack(">HIHI", _HEADER_TABLE_SIZE, 0, _INITIAL_WINDOW, _LARGEST_WINDOW)
        self._socket.sendall(
            PREFACE
            + frame(_SETTINGS, 0, 0, settings)
            + frame(_WINDOW, 0, 0, struct.pack(">I", _LARGEST_WINDOW - _DEFAULT_WINDOW))
        )

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def call(self, body: bytes) -> int:
        """Send a request as soon as the server lets it through; returns its stream.

        Args:
            body: a zero byte, the message's length in four bytes, the message.
        """
        self._stream += 2
        self._held.append((self._stream, body))
        self._send_held()
        return self._stream

    def receive(self) -> Iterator[Answered]:
        """What has ended, read from the socket once.

        Raises:
            HungUp: the connection ended.
        """
        data = self._socket.recv(1 << 18)
        if not data:
            raise HungUp("the server closed the connection")
        data = self._rest + data
        position, end = 0, len(data)
        while end - position >= 9:
            length = int.from_bytes(data[position : position + 3], "big")
            following = position + 9 + length
            if following > end:
                break
            kind, flags = data[position + 3], data[position + 4]
            stream = int.from_bytes(data[position + 5 : position + 9], "big")
            payload = data[position + 9 : following]
            position = following
            if kind == _HEADERS and flags & _END_STREAM:
                self._under_way.discard(stream)
                yield Answered(stream, _status(payload))
            elif kind == _RST:
                if stream in self._under_way:  # some are reset after they were answered
                    self._under_way.remove(stream)
                    yield Answered(stream, RESET)
            elif kind == _DATA:
                self._take_in(length)
            elif kind not in (_HEADERS, _DATA):
                self._control(kind, flags, payload, stream)
        self._rest = data[position:]
        self._send_held()

    def _take_in(self, length: int) -> None:
        self._received += length
        if self._received > _TOP_UP:
            self._socket.sendall(frame(_WINDOW, 0, 0, struct.pack(">I", self._received)))
            self._received = 0

    def _control(self, kind: int, flags: int, payload: bytes, stream: int) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == _MAX_STREAMS:
                    self._most_streams = value
            self._socket.sendall(frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._socket.sendall(frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW and stream == 0:
            self._window += int.from_bytes(payload, "big")
        elif kind == _GOAWAY:
            raise HungUp(f"the server says goodbye: {payload[8:].decode(errors='replace') or 'no reason'}")

    def _send_held(self) -> None:
        sent = []
        while self._held and len(self._under_way) < self._most_streams:
            stream, body = self._held[0]
            if len(body) > min(self._window, _LARGEST_FRAME):
                if len(body) > _LARGEST_FRAME:
                    raise ValueError(f"a body of {len(body)} bytes does not fit into one frame")
                break
            self._held.popleft()
            self._window -= len(body)
            self._under_way.add(stream)
            sent.append(frame(_HEADERS, _END_HEADERS, stream, self._headers))
            sent.append(frame(_DATA, _END_STREAM, stream, body))
        if sent:
            self._socket.sendall(b"".join(sent))


def _status(trailers: bytes) -> int:
    """The gRPC status of a trailer block whose fields are literal.

    Raises:
        HungUp: there is none.
    """
    at = trailers.find(_STATUS)
    if at < 0:
        raise HungUp("an answer without a readable grpc-status: is this a gRPC server?")
    at += len(_STATUS)
    length = trailers[at]
    return int(trailers[at + 1 : at + 1 + length])
