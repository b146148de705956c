"""Ray Serve: one replica, batches of up to 64 without waiting, raw bytes by its HTTP proxy."""

import os
import signal
import threading
from typing import Any

import ray  # type: ignore[import-not-found,unused-ignore]
from ray import serve  # type: ignore[import-not-found,unused-ignore]
from starlette.requests import Request  # type: ignore[import-not-found,unused-ignore]
from starlette.responses import Response  # type: ignore[import-not-found,unused-ignore]

from tests.bench.serve.peers.fill import Fill


@serve.deployment(num_replicas=1, max_ongoing_requests=128, ray_actor_options={"num_cpus": 0.5})
class Filling:
    """Raw bytes both ways."""

    def __init__(self) -> None:
        self._fill = Fill()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0)  # type: ignore[untyped-decorator,unused-ignore]
    async def gathered(self, bodies: list[bytes]) -> list[bytes]:
        """One run for all."""
        return self._fill.batch(bodies)

    async def __call__(self, request: Request) -> Any:
        """One body."""
        answer: Any = await self.gathered(await request.body())
        return Response(answer, media_type="application/octet-stream")


if __name__ == "__main__":
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # its processes share one core
    ray.init(num_cpus=2, include_dashboard=False, logging_level="warning", log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": Fill().port, "access_log": False})
    deployment: Any = Filling  # as the decorator leaves it
    serve.run(deployment.bind(), route_prefix="/")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    serve.shutdown()
    ray.shutdown()
