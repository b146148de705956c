"""PyTriton: NVIDIA's Triton in front, dynamic batching without a wait, the model a Python function."""

from typing import Any

import numpy as np
from pytriton.decorators import batch  # type: ignore[import-not-found,unused-ignore]
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor  # type: ignore[import-not-found,unused-ignore]
from pytriton.triton import Triton, TritonConfig  # type: ignore[import-not-found,unused-ignore]

from tests.bench.serve.peers.fill import Fill, Spec


def _tensor(spec: Spec) -> Any:
    return Tensor(name=spec.name, dtype=np.dtype(spec.dtype).type, shape=(spec.width,))


def main() -> None:
    """Serve until SIGTERM."""
    fill = Fill()

    @batch  # type: ignore[untyped-decorator,unused-ignore]
    def infer(**tensors: Any) -> list[Any]:
        return fill.run(tensors)

    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=fill.port,
        grpc_address="127.0.0.1",
        grpc_port=fill.port + 1,
        allow_metrics=False,
        log_verbose=0,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="fill",
            infer_func=infer,
            inputs=[_tensor(spec) for spec in fill.inputs],
            outputs=[_tensor(spec) for spec in fill.outputs],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()


if __name__ == "__main__":
    main()
