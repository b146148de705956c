"""A long wire on this machine: what goes in at one end comes out at the other after half a round trip."""

import asyncio
import socket
import threading
from types import TracebackType
from typing import Self

_CHUNK = 1 << 16

_Wire = asyncio.Queue[tuple[float, bytes]]


class SlowLink:
    """Passes connections on to a port of this machine, and delays each byte by half of `round_trip_s`."""

    def __init__(self, target: int, round_trip_s: float) -> None:
        self._target = target
        self._delay_s = round_trip_s / 2
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slow-link", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def slow(self, round_trip_s: float) -> None:
        """From now on each round trip takes so long."""
        self._delay_s = round_trip_s / 2

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        self._loop.call_soon_threadsafe(self._abort)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._socket)

    async def _close(self) -> None:
        self._server.close()
        self._abort()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        try:
            far, to_far = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            to_near.close()  # nobody there: the caller sees a connection that ends, and tries again
            return
        self._writers |= {to_near, to_far}
        try:
            async with asyncio.TaskGroup() as both_ways:
                for source, sink in ((near, to_far), (far, to_near)):
                    # Bytes under way wait with the time at which they arrive: a delay, but no less width.
                    under_way: _Wire = asyncio.Queue()
                    both_ways.create_task(self._take_in(source, under_way))
                    both_ways.create_task(self._give_out(under_way, sink))
        except* OSError:
            pass  # either end broke off: so does the other
        finally:
            self._writers -= {to_near, to_far}
            to_near.close()
            to_far.close()

    async def _take_in(self, source: asyncio.StreamReader, under_way: _Wire) -> None:
        data = b"-"
        while data:
            data = await source.read(_CHUNK)
            under_way.put_nowait((self._loop.time() + self._delay_s, data))

    async def _give_out(self, under_way: _Wire, sink: asyncio.StreamWriter) -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(due - self._loop.time())
            if not data:
                if not sink.is_closing():
                    sink.write_eof()
                return
            sink.write(data)
            await sink.drain()
