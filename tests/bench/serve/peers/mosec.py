"""mosec: its Rust front gathers what comes within a millisecond and hands a batch to one worker."""

import sys

from mosec import Server, Worker  # type: ignore[import-not-found,unused-ignore]

from tests.bench.serve.peers.fill import Fill


class Filling(Worker):  # type: ignore[misc,unused-ignore]
    """Raw bytes both ways."""

    resp_mime_type = "application/octet-stream"

    def __init__(self) -> None:
        super().__init__()
        self._fill = Fill()

    def deserialize(self, data: bytes) -> bytes:
        """As they are."""
        return data

    def serialize(self, data: bytes) -> bytes:
        """As they are."""
        return data

    def forward(self, data: list[bytes]) -> list[bytes]:
        """One run for all."""
        return self._fill.batch(data)


if __name__ == "__main__":
    sys.argv += ["--address", "127.0.0.1", "--port", str(Fill().port)]
    server = Server()
    server.append_worker(Filling, num=1, max_batch_size=64, max_wait_time=1)
    server.run()
