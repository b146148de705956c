"""The pipeline: packed commands out, replies back, over connections of Redis' own client.

That client's pipelines build objects a command and send a whole batch again when a connection
breaks: slow, and a guarded write that did arrive would refuse its second copy.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import hiredis
from redis import ConnectionPool
from redis.exceptions import ResponseError

Command = tuple[bytes, ...]

_pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]

# Commands a packet: the server works on one while the next is packed. Replies wait in the server's
# own memory, so that it never stops reading because we have not read yet.
_PACKET = 256


def exchange(batches: Sequence[tuple[ConnectionPool, Sequence[Command]]]) -> list[list[Any]]:
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
