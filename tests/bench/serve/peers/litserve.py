"""LitServe: batches of up to 64, gathered for no longer than a millisecond, by one worker."""

from typing import Annotated, Any

import litserve  # type: ignore[import-not-found,unused-ignore]
from fastapi import Body  # type: ignore[import-not-found,unused-ignore]
from starlette.responses import Response  # type: ignore[import-not-found,unused-ignore]

from tests.bench.serve.peers.fill import Fill


class Filling(litserve.LitAPI):  # type: ignore[misc,unused-ignore]
    """Raw bytes both ways."""

    def setup(self, device: str) -> None:
        """In the worker."""
        self._fill = Fill()

    def decode_request(self, request: Annotated[bytes, Body()]) -> bytes:
        """The body as it is: parsed as JSON, which is LitServe's default, it costs more."""
        return request

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        """As they are: the model wants them stacked by itself."""
        return inputs

    def predict(self, batch: list[bytes]) -> list[bytes]:
        """One run for all."""
        return self._fill.batch(batch)

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        """One each."""
        return output

    def encode_response(self, output: bytes) -> Any:
        """As it is."""
        return Response(output, media_type="application/octet-stream")


if __name__ == "__main__":
    api = Filling(max_batch_size=64, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=30)
    port = Fill().port
    server.run(
        host="127.0.0.1", port=port, generate_client_file=False, log_level="warning", access_log=False
    )
