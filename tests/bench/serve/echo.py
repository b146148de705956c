"""The floor of any gRPC server in Python: grpcio itself, as ours is set up, with nothing behind it.

`python -m tests.bench.serve.echo ANSWER.bin THREADS` answers every method with the bytes of that file, and
prints its port.
"""

import signal
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc


class Echo(grpc.GenericRpcHandler):
    """Answers anything with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
            lambda request, context: answer
        )

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Whatever is asked."""
        return self._handler


def main() -> None:
    """Serve until SIGTERM."""
    answer, threads = Path(sys.argv[1]).read_bytes(), int(sys.argv[2])
    server = grpc.server(futures.ThreadPoolExecutor(threads), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Echo(answer),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    server.stop(0).wait()


if __name__ == "__main__":
    main()
