"""Whoever is measured, started: where it listens, and how each call is put to it."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from feature_repo.store import configuration
from kindling.settings import Settings
from tests.bench.serve import feast_model, venvs
from tests.bench.serve.cases import ECHO, FEAST_GRPC, FEAST_ONNX, FEAST_REST, KINDLING
from tests.bench.serve.h2load import Target
from tests.bench.serve.messages import PACKED, SINGLE, Profiles, write
from tests.bench.serve.peers import JOB
from tests.bench.serve.process import Process
from tests.bench.serve.rig import Rig, listens, run_module
from tests.bench.serve.shop import user_name
from tests.servers import free_port

GRPC = {"content-type": "application/grpc", "te": "trailers", "grpc-timeout": "1S"}
_BYTES, _JSON = "application/octet-stream", "application/json"
_PATHS = {"mosec": "inference", "litserve": "predict", "bentoml": "fill", "ray serve": ""}


@dataclass(frozen=True)
class Subject:
    """A server that listens.

    Attributes:
        port: of this machine.
        started_s: from its start until it took a connection, imports and all.
        targets: by call, what h2load posts where. Calls that are not here need a body each.
    """

    process: Process
    port: int
    started_s: float
    targets: dict[str, Target]


class Subjects:
    """Starts servers over one rig."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._profiles = Profiles(rig.shop, rig.bundle)
        self._folder = rig.folder / "run"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    @contextmanager
    def running(self, subject: str, store: str, answer: bytes = b"") -> Iterator[Subject]:
        """The server of `subject` over `store`.

        Args:
            answer: what an echo is to answer.

        Raises:
            ServerFailed: it does not start.
            NotInstalled: it is a peer that cannot be had here.
        """
        with ExitStack() as stack:
            if subject == KINDLING:
                yield self._kindling(stack, store)
            elif subject == ECHO:
                yield self._echo(stack, answer)
            elif subject in (FEAST_REST, FEAST_ONNX, FEAST_GRPC):
                yield self._feast(stack, subject, store)
            else:
                yield self._peer(stack, subject)

    def _process(
        self, stack: ExitStack, name: str, command: list[str], environment: dict[str, str] | None = None
    ) -> Process:
        log = self._folder / f"{name.replace(' ', '-')}.log"
        return stack.enter_context(Process(command, log, self._rig.server_core, environment))

    def _kindling(self, stack: ExitStack, store: str) -> Subject:
        address_file = self._folder / "address.json"
        address_file.unlink(missing_ok=True)
        words = [
            "--var",
            str(self._rig.stores[store].root),
            "--port",
            "0",
            "--address-file",
            str(address_file),
        ]
        process = self._process(
            stack,
            KINDLING,
            [sys.executable, "-W", "ignore", "-m", "kindling.cli", "serve", *words],
            {"KINDLING_WORKERS": "1"},  # of one core
        )
        started_s = process.await_started(address_file.exists)
        port = int(json.loads(address_file.read_text("utf-8"))["address"].rpartition(":")[2])
        inline = write(self._folder / "inline.bin", [self._profiles.inline()])
        packed = write(self._folder / "packed.bin", [self._profiles.packed()])
        return Subject(
            process,
            port,
            started_s,
            {
                "inline": _grpc(port, SINGLE, inline),
                "batch-inline": _grpc(port, PACKED, packed),
            },
        )

    def _echo(self, stack: ExitStack, answer: bytes) -> Subject:
        path = self._folder / "answer.bin"
        path.write_bytes(answer)
        threads = str(Settings.model_fields["threads"].default)
        command = [sys.executable, "-m", "tests.bench.serve.echo", str(path), threads]
        process = self._process(stack, ECHO, command)
        started_s = process.await_started(lambda: process.said().endswith("\n"))
        port = int(process.said())
        inline = write(self._folder / "inline.bin", [self._profiles.inline()])
        return Subject(process, port, started_s, {"inline": _grpc(port, SINGLE, inline)})

    def _feast(self, stack: ExitStack, subject: str, store: str) -> Subject:
        workspace, port = self._rig.stores[store], free_port()
        folder = self._folder / subject.replace(" ", "-")
        folder.mkdir(exist_ok=True)
        plain = configuration(workspace, self._rig.redis)
        plain["online_store"] = {"type": "redis", "connection_string": self._rig.redis}
        shutil.copy(workspace.registry, folder / "registry.db")
        plain["registry"] = {"path": str(folder / "registry.db"), "cache_ttl_seconds": 3_600}
        (folder / "feature_store.yaml").write_text(yaml.safe_dump(plain), encoding="utf-8")
        refs = [f"{view}:{feature}" for view, features in self._read().items() for feature in features]
        environment = {
            feast_model.MODEL: str(self._rig.bundle.folder),
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "FEAST_USAGE": "False",
        }
        if subject == FEAST_ONNX:
            run_module("tests.bench.serve.feast_model", str(folder), str(self._rig.bundle.folder))
            refs = [f"{feast_model.VIEW}:{spec.name}" for spec in self._rig.bundle.schema.outputs]
        feast = [str(Path(sys.executable).parent / "feast"), "-c", str(folder)]
        lean = [sys.executable, "-W", "ignore", "-m", "tests.bench.serve.feast_lean", *feast[1:]]
        if subject == FEAST_GRPC:
            words = [
                "listen",
                "--address",
                f"127.0.0.1:{port}",
                "--max_workers",
                "8",
                "--registry_ttl_sec",
                "3600",
            ]
        else:
            words = ["serve", "--port", str(port), "--no-access-log", "--max-requests", "0"]
            words += ["--workers", "1", "--registry_ttl_sec", "3600"]
        process = self._process(stack, subject, [*lean, *words], environment)
        started_s = process.await_started(lambda: listens(port))
        user = user_name(5)
        body = folder / "body"
        if subject == FEAST_GRPC:
            # GetOnlineFeaturesRequest by hand: importing Feast's own messages takes seven seconds.
            from feast.protos.feast.serving.ServingService_pb2 import FeatureList, GetOnlineFeaturesRequest
            from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value

            request = GetOnlineFeaturesRequest(
                features=FeatureList(val=refs),
                entities={"user_id": RepeatedValue(val=[Value(string_val=user)])},
            )
            method = "/GrpcFeatureServer/GetOnlineFeatures"
            return Subject(process, port, started_s, {"read": _grpc(port, method, write(body, [request]))})
        body.write_text(json.dumps({"features": refs, "entities": {"user_id": [user]}}), encoding="utf-8")
        url = f"http://127.0.0.1:{port}/get-online-features"
        target = Target(url, body, {"content-type": _JSON}, http1=True)
        return Subject(process, port, started_s, {"read": target, "fill": target})

    def _read(self) -> dict[str, list[str]]:
        catalogue = self._rig.bundle.schema.catalogue
        return {
            "user_attributes": [attribute.name for attribute in catalogue.attributes],
            "user_activity": list(feast_model.ACTIVITY),
        }

    def _peer(self, stack: ExitStack, subject: str) -> Subject:
        interpreter, port = venvs.python(subject), free_port()
        schema, model = self._rig.bundle.schema, self._rig.bundle.rungs["generator"]
        job = {"model": str(model), "port": port, "inputs": schema.inputs, "outputs": schema.outputs}
        path = self._folder / "peer.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        module = f"tests.bench.serve.peers.{subject.split(maxsplit=1)[0]}"
        environment = {JOB: str(path), "PATH": f"{interpreter.parent}:{os.environ['PATH']}"}
        process = self._process(stack, subject, [str(interpreter), "-m", module], environment)
        tensors = {name: rows[5:6] for name, rows in self._profiles.tensors(8).items()}
        parts = [tensors[spec.name].tobytes() for spec in schema.inputs]
        body = self._folder / "body.bin"
        if subject == "pytriton":
            target = _triton(port, body, [list(spec) for spec in schema.inputs], parts)
        else:
            body.write_bytes(b"".join(parts))
            target = Target(
                f"http://127.0.0.1:{port}/{_PATHS[subject]}", body, {"content-type": _BYTES}, http1=True
            )
        started_s = process.await_started(lambda: listens(port))
        return Subject(process, port, started_s, {"fill": target})


def _grpc(port: int, method: str, body: Path) -> Target:
    return Target(f"http://127.0.0.1:{port}{method}", body, GRPC)


def _triton(port: int, body: Path, specs: list[list[object]], parts: list[bytes]) -> Target:
    """By Triton's binary extension of the inference protocol: a JSON header, then the tensors."""
    kinds = {"float32": "FP32", "int64": "INT64"}
    inputs = [
        {
            "name": name,
            "shape": [1, width],
            "datatype": kinds[str(dtype)],
            "parameters": {"binary_data_size": len(part)},
        }
        for (name, dtype, width), part in zip(specs, parts, strict=True)
    ]
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body.write_bytes(header + b"".join(parts))
    headers = {"content-type": _BYTES, "inference-header-content-length": str(len(header))}
    return Target(f"http://127.0.0.1:{port}/v2/models/fill/infer", body, headers, http1=True)
