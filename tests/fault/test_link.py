"""The long wire delays what it carries, and no less carries it."""

import socket
import threading
import time

from tests.fault.link import SlowLink


def echo(server: socket.socket) -> None:
    """Answer one connection with what it sends."""
    connection, _ = server.accept()
    with connection:
        while data := connection.recv(1 << 16):
            connection.sendall(data)


def test_an_answer_takes_a_round_trip_and_much_at_once_takes_no_longer() -> None:
    message = bytes(range(256)) * 2_000
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=echo, args=(server,))
        thread.start()
        with (
            SlowLink(server.getsockname()[1], 0.2) as link,
            socket.create_connection(("127.0.0.1", link.port)) as caller,
        ):
            started = time.monotonic()
            caller.sendall(message)
            caller.shutdown(socket.SHUT_WR)
            with caller.makefile("rb") as answer:
                assert answer.read() == message
            taken = time.monotonic() - started
        thread.join()
    assert 0.2 <= taken < 1.5


def test_a_caller_is_let_go_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with SlowLink(port, 0.2) as link, socket.create_connection(("127.0.0.1", link.port)) as caller:
        assert caller.recv(1) == b""
