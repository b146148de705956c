"""The pipeline: packed commands out, replies back, over connections of Redis' own client.

That client's pipelines build objects a command and send a whole batch again when a connection
breaks: slow, and a guarded write that did arrive would refuse its second copy.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import hiredis
from redis import ConnectionPool
from redis.exceptions import AskError, ClusterDownError, NoScriptError, ResponseError, TryAgainError

from streaming.stores.script import Script
from streaming.stores.servers import by_server

Command = tuple[bytes, ...]

_pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]

# Commands a packet: the server works on one while the next is packed. Replies wait in the server's
# own memory, so that it never stops reading because we have not read yet.
_PACKET = 256
_REDIRECTS = (AskError, TryAgainError, ClusterDownError)  # a MovedError is an AskError


def send(
    client: Any, keys: Sequence[bytes], commands: Sequence[Command], script: Script | None = None
) -> list[Any]:
    """The reply to each command; none is sent again that may have been carried out.

    Args:
        keys: the key of each command, by which it finds its server.
        script: what the commands call by digest, if they do.

    Raises:
        redis.RedisError: a server is gone, or refuses; some commands may have been carried out.
    """
    replies = _scatter(client, keys, commands)
    failed = [index for index, reply in enumerate(replies) if isinstance(reply, ResponseError)]
    if failed and script is not None:
        # Run from its text, a script is known by its digest from then on.
        commands = [(b"EVAL", script.text, *command[2:]) for command in commands]
        unknown = [index for index in failed if isinstance(replies[index], NoScriptError)]
        repeated = _scatter(
            client, [keys[index] for index in unknown], [commands[index] for index in unknown]
        )
        for index, reply in zip(unknown, repeated, strict=True):
            replies[index] = reply
    for index in failed:
        if isinstance(replies[index], _REDIRECTS):
            # The slot is moving or has moved: the client knows how to follow, and learns from it.
            name, *arguments = commands[index]
            replies[index] = client.execute_command(name.decode(), *arguments)
        elif isinstance(replies[index], ResponseError):
            raise replies[index]
    return replies


def _scatter(client: Any, keys: Sequence[bytes], commands: Sequence[Command]) -> list[Any]:
    """The reply to each command, errors among them, from whichever servers hold their keys."""
    servers = by_server(client, keys)
    answers = _exchange([(pool, [commands[index] for index in indices]) for pool, indices in servers])
    replies: list[Any] = [None] * len(commands)
    for (_, indices), answer in zip(servers, answers, strict=True):
        for index, reply in zip(indices, answer, strict=True):
            replies[index] = reply
    return replies


def _exchange(batches: Sequence[tuple[ConnectionPool, Sequence[Command]]]) -> list[list[Any]]:
    """Send each batch to its server, all before the first reply is read; nothing is sent twice.

    Returns:
        By batch, a reply a command; a `ResponseError` is a reply too.

    Raises:
        redis.ConnectionError, redis.TimeoutError: which commands were carried out is not known.
    """
    with ExitStack() as stack:
        connections: list[tuple[Any, ExitStack, int]] = []
        for pool, commands in batches:
            connection: Any = pool.get_connection()
            stack.callback(pool.release, connection)
            # Replies left unread would answer somebody else's commands.
            unread = stack.enter_context(ExitStack())
            unread.callback(connection.disconnect)
            for start in range(0, len(commands), _PACKET):
                packet = b"".join([_pack(command) for command in commands[start : start + _PACKET]])
                connection.send_packed_command([packet], check_health=False)
            connections.append((connection, unread, len(commands)))
        replies = []
        for connection, unread, expected in connections:
            replies.append([_reply(connection) for _ in range(expected)])
            unread.pop_all()
        return replies


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error
