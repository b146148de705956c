"""Rows of Redis for whoever answers requests: a connection a thread and server, one packet there, one back.

Connections are opened by Redis' own client, which knows of passwords, TLS, Sentinel and clusters. From
then on its layers, which cost more than the round trip itself, are passed by.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any

import hiredis
import redis
from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry

from streaming.stores.servers import by_server, is_cluster

_CHUNK = 1 << 16
_NOT_ENOUGH = object()
# A limit is set anew where it is longer than what is left, or much shorter.
_SHORTER, _MUCH_SHORTER = 0.95, 0.8
_TIMEVAL = Struct("@ll")


class RedisRows:
    """A `RowReader`.

    Args:
        client: asked for each read, so that one which has been replaced is used no longer.
        project: Feast's, the end of every key.
        fields: of the hash, in the order wanted.
        lost: told that a server of a cluster is gone.
    """

    def __init__(
        self, client: Callable[[], Any], project: str, fields: Sequence[bytes], lost: Callable[[], None]
    ) -> None:
        self._client, self._project, self._fields, self._lost = client, project.encode(), fields, lost
        self._head = b"*%d\r\n$5\r\nHMGET\r\n" % (len(fields) + 2)
        self._tail = b"\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(field), field) for field in fields)
        self._local = threading.local()

    def read(self, keys: Sequence[bytes], limit_s: float) -> list[Sequence[bytes | None]]:
        """See `RowReader.read`."""
        end = time.monotonic() + limit_s
        client, stored = self._client(), [key + self._project for key in keys]
        try:
            try:
                replies = self._exchange(client, stored, end)
            except ConnectionError:
                # A server that restarts, or thinks us idle, hangs up; nothing is wrong with another line.
                replies = self._exchange(client, stored, end)
        except (ConnectionError, TimeoutError):
            if is_cluster(client):
                self._lost()
            raise
        for index, reply in enumerate(replies):
            if isinstance(reply, hiredis.ReplyError):
                if not is_cluster(client):
                    raise reply
                # The slot is moving or has moved: the client knows how to follow, and learns from it.
                replies[index] = client.execute_command("HMGET", stored[index], *self._fields)
        return replies

    def close(self) -> None:
        """See `RowReader.close`."""
        self._local = threading.local()

    def _exchange(self, client: Any, keys: Sequence[bytes], end: float) -> list[Any]:
        """A reply a key; every server has its commands before the first reply is awaited."""
        groups = [(self._line(client, pool), indices) for pool, indices in by_server(client, keys)]
        replies: list[Any] = [None] * len(keys)
        try:
            for line, indices in groups:
                line.send(b"".join([self._command(keys[index]) for index in indices]), end)
            for line, indices in groups:
                for index in indices:
                    replies[index] = line.reply(end)
        except BaseException:
            for line, _ in groups:
                line.hang_up()  # replies left unread would answer somebody else's commands
            raise
        return replies

    def _command(self, key: bytes) -> bytes:
        return b"%b$%d\r\n%b%b" % (self._head, len(key), key, self._tail)

    def _line(self, client: Any, pool: ConnectionPool) -> "_Line":
        local = self._local.__dict__
        if local.get("client") is not client:
            local["client"], local["lines"] = client, {}
        line: _Line | None = local["lines"].get(pool)
        if line is None:
            line = local["lines"][pool] = _Line(pool)
        return line


class _Line:
    """One thread's connection to one server; raises `ConnectionError` and `TimeoutError`, Python's own.

    The kernel keeps the time: Python's own timeouts take a poll before each read and write, and the
    interpreter from this thread and back each time.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._connection: Any = None
        self._socket: Any = None
        self._limit_s = 0.0
        self._replies = hiredis.Reader(notEnoughData=_NOT_ENOUGH)

    def send(self, packet: bytes, end: float) -> None:
        """Send packed commands."""
        if self._socket is None:
            self._open(_left(end))
        self._limit(_left(end))
        try:
            self._socket.sendall(packet)
        except BlockingIOError as error:
            raise TimeoutError("Redis did not take the command in time") from error

    def reply(self, end: float) -> Any:
        """The next reply, an error that the server states included."""
        while True:
            reply = self._replies.gets(False)
            if reply is _NOT_ENOUGH:
                self._limit(_left(end))
                try:
                    data = self._socket.recv(_CHUNK)
                except BlockingIOError as error:
                    raise TimeoutError("Redis did not answer in time") from error
                if not data:
                    raise ConnectionResetError("Redis hung up")
                self._replies.feed(data)
            elif type(reply) is list or isinstance(reply, hiredis.ReplyError):
                return reply  # all else is not in answer to us, but pushed at the server's own will

    def hang_up(self) -> None:
        """Close the connection; the next command opens another."""
        if self._connection is not None:
            self._connection.disconnect()
        self._connection = self._socket = None
        self._replies = hiredis.Reader(notEnoughData=_NOT_ENOUGH)

    def _open(self, limit_s: float) -> None:
        """Connect, in at most half the time for the line and half for each word of greeting."""
        limits = {"socket_connect_timeout": limit_s / 2, "socket_timeout": limit_s / 2}
        settings = self._pool.connection_kwargs | limits | {"retry": Retry(NoBackoff(), 0)}
        self._connection = self._pool.connection_class(**settings)
        try:
            self._connection.connect()
        except redis.TimeoutError as error:
            raise TimeoutError(str(error)) from error
        except redis.ConnectionError as error:
            raise ConnectionRefusedError(str(error)) from error
        self._socket, self._limit_s = self._connection._sock, 0.0

    def _limit(self, left_s: float) -> None:
        """Let no read or write from here on take longer than that."""
        if isinstance(self._socket, ssl.SSLSocket):  # reads ahead by itself, and knows only Python's
            self._socket.settimeout(left_s)
        elif not left_s * _MUCH_SHORTER <= self._limit_s <= left_s:
            if not self._limit_s:
                self._socket.settimeout(None)
            self._limit_s = left_s * _SHORTER
            seconds, rest = divmod(max(self._limit_s, 1e-6), 1)
            limit = _TIMEVAL.pack(int(seconds), int(rest * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("Redis did not answer in time")
    return left
