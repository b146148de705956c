"""The pipeline: packed commands out, replies back, over connections of Redis' own client.

That client's pipelines build objects a command and send a whole batch again when a connection
breaks: slow, and a guarded write that did arrive would refuse its second copy.
"""

import builtins
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import hiredis
from redis import ConnectionPool
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    NoScriptError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from streaming.stores.script import Script
from streaming.stores.servers import by_server

Command = tuple[bytes, ...]

# Commands a packet: the server works on one while the next is packed. Replies wait in the server's
# own memory, so that it never stops reading because we have not read yet.
_PACKET = 256
_CHUNK = 1 << 16
_KNOWN_SIZES = 1 << 13
_REDIRECTS = (AskError, TryAgainError, ClusterDownError)  # a MovedError is an AskError


def send(
    client: Any, keys: Sequence[bytes], command_of: Callable[[int], Command], script: Script | None = None
) -> list[Any]:
    """The reply to each command; none is sent again that may have been carried out.

    Args:
        keys: the key of each command, by which it finds its server.
        command_of: each command, by its place; asked for when it is its turn, so that the server works on
            those before while it is made.
        script: what the commands call by digest, if they do.

    Raises:
        redis.RedisError: a server is gone, or refuses; some commands may have been carried out.
    """
    replies = _scatter(client, keys, range(len(keys)), command_of)
    failed = _errors(replies)
    if failed and script is not None:
        text, by_digest = script.text, command_of

        def command_of(index: int) -> Command:
            """Run from its text, a script is known by its digest from then on."""
            return (b"EVAL", text, *by_digest(index)[2:])

        unknown = [index for index in failed if isinstance(replies[index], NoScriptError)]
        for index, reply in zip(unknown, _scatter(client, keys, unknown, command_of), strict=True):
            replies[index] = reply
    for index in failed:
        if isinstance(replies[index], _REDIRECTS):
            # The slot is moving or has moved: the client knows how to follow, and learns from it.
            name, *arguments = command_of(index)
            replies[index] = client.execute_command(name.decode(), *arguments)
        elif isinstance(replies[index], ResponseError):
            raise replies[index]
    return replies


def _scatter(
    client: Any, keys: Sequence[bytes], wanted: Sequence[int], command_of: Callable[[int], Command]
) -> list[Any]:
    """The reply to each wanted command, errors among them, from whichever servers hold their keys."""
    servers = [
        (pool, [wanted[place] for place in places])
        for pool, places in by_server(client, [keys[index] for index in wanted])
    ]
    answers = _exchange(servers, command_of)
    if len(answers) == 1:
        return answers[0]
    replies: dict[int, Any] = {}
    for (_, indices), answer in zip(servers, answers, strict=True):
        replies.update(zip(indices, answer, strict=True))
    return [replies[index] for index in wanted]


def _exchange(
    batches: Sequence[tuple[ConnectionPool, Sequence[int]]], command_of: Callable[[int], Command]
) -> list[list[Any]]:
    """Send each server its commands, all before the first reply is read; nothing is sent twice.

    Returns:
        By server, a reply a command; a `ResponseError` is a reply too.

    Raises:
        redis.ConnectionError, redis.TimeoutError: which commands were carried out is not known.
    """
    with ExitStack() as stack:
        connections: list[tuple[Any, ExitStack, int]] = []
        for pool, indices in batches:
            connection: Any = pool.get_connection()
            stack.callback(pool.release, connection)
            # Replies left unread would answer somebody else's commands.
            unread = stack.enter_context(ExitStack())
            unread.callback(connection.disconnect)
            for start in range(0, len(indices), _PACKET):
                packet = _packed(map(command_of, indices[start : start + _PACKET]))
                connection.send_packed_command([packet], check_health=False)
            connections.append((connection, unread, len(indices)))
        replies = []
        for connection, unread, expected in connections:
            replies.append(_replies(connection, expected))
            unread.pop_all()
        return replies


class _Sizes(dict[int, bytes]):
    """What comes before an argument of a size, and after the one before it."""

    def __missing__(self, size: int) -> bytes:
        if len(self) >= _KNOWN_SIZES:
            self.clear()
        before = self[size] = b"\r\n$%d\r\n" % size
        return before


_SIZES = _Sizes()


def _packed(commands: Iterable[Command]) -> bytes:
    """Commands as the server reads them; a third faster than the client's own way, in C, one by one."""
    parts: list[bytes] = []
    add, sizes = parts.append, _SIZES
    for command in commands:
        add(b"*%d" % len(command))
        for argument in command:
            add(sizes[len(argument)])
            add(argument)
        add(b"\r\n")
    return b"".join(parts)


def _replies(connection: Any, expected: int) -> list[Any]:
    """The next replies; the client's own reading of one takes longer than writing the row it is about."""
    socket, reader = connection._sock, hiredis.Reader(replyError=connection._parser.parse_error)
    replies: list[Any] = []
    try:
        while len(replies) < expected:
            if (reply := reader.gets()) is not False:
                replies.append(reply)
            elif arrived := socket.recv(_CHUNK):
                reader.feed(arrived)
            else:
                raise ConnectionError("the server closed the connection")
    except builtins.TimeoutError as error:
        raise TimeoutError("no reply in time") from error
    except OSError as error:
        raise ConnectionError(f"reading replies: {error}") from error
    for index in _errors(replies):
        if isinstance(replies[index], ConnectionError):
            raise replies[index]
    return replies


def _errors(replies: Sequence[Any]) -> list[int]:
    """Which replies are errors; there are thousands of replies, of few types."""
    if not any(issubclass(kind, Exception) for kind in set(map(type, replies))):
        return []
    return [index for index, reply in enumerate(replies) if isinstance(reply, Exception)]
