"""BentoML: a route of raw bytes, one worker, a run a request."""

import signal
import threading

import bentoml  # type: ignore[import-not-found,unused-ignore]
from starlette.applications import Starlette  # type: ignore[import-not-found,unused-ignore]
from starlette.requests import Request  # type: ignore[import-not-found,unused-ignore]
from starlette.responses import Response  # type: ignore[import-not-found,unused-ignore]
from starlette.routing import Route  # type: ignore[import-not-found,unused-ignore]

from tests.bench.serve.peers.fill import Fill

_FILL = Fill()


async def _answer(request: Request) -> Response:
    return Response(_FILL.batch([await request.body()])[0], media_type="application/octet-stream")


@bentoml.asgi_app(Starlette(routes=[Route("/fill", _answer, methods=["POST"])]), path="/")
@bentoml.service(
    workers=1,
    traffic={"timeout": 30},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Filling:
    """A mounted application: BentoML's own endpoints parse JSON or forms, which costs more."""


if __name__ == "__main__":
    served = bentoml.serve("tests.bench.serve.peers.bentoml:Filling", host="127.0.0.1", port=_FILL.port)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    served.stop()
