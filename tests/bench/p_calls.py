"""P10: resolve an alias, against an empty gRPC call and MLflow's alias call; P15: the time of `import modelkeep`."""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

import grpc
import httpx
import modelkeep
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc

from tests.bench.measure import Result
from tests.bench.parts import Server, modelkeep_server
from tests.servers import free_port, wait_until

IN_FLIGHT = 32
MLFLOW_IN_FLIGHT = 8
"""MLflow is fastest with few: its one worker has eight threads or so."""
ALIASES = 64
"""Of as many models, so that no two calls at once ask for the same."""


async def _rate(call: Callable[[], Awaitable[object]], seconds: float, width: int = IN_FLIGHT) -> float:
    """Calls a second with `width` in flight."""
    end = perf_counter() + seconds
    count = 0

    async def caller() -> None:
        nonlocal count
        while perf_counter() < end:
            await call()
            count += 1

    start = perf_counter()
    await asyncio.gather(*(caller() for _ in range(width)))
    return count / (perf_counter() - start)


async def _latency(call: Callable[[], Awaitable[object]], times: int = 200) -> float:
    """The median time of a call alone, in seconds."""
    taken = []
    for _ in range(times):
        start = perf_counter()
        await call()
        taken.append(perf_counter() - start)
    return statistics.median(taken)


async def _measure(server: Server, empty: str, mlflow: str, seconds: float, rounds: int) -> list[Result]:
    async with (
        grpc.aio.insecure_channel(server.address) as ours,
        grpc.aio.insecure_channel(empty) as bare,
        httpx.AsyncClient() as web,
    ):
        stub = rpc.MetadataServiceStub(ours)
        nothing = bare.unary_unary("/bench.Empty/Call")
        requests = itertools.cycle(
            [pb.ResolveRequest(parent="teams/default/projects/bench", address=f"small{n}:best") for n in range(ALIASES)]
        )
        one = next(requests)

        async def resolve(request: pb.ResolveRequest = one) -> object:
            return await stub.Resolve(request, metadata=(("authorization", f"Bearer {token}"),), timeout=10)

        async def call_nothing() -> object:
            return await nothing(b"", timeout=10)

        async def call_mlflow() -> object:
            answer = await web.get(
                f"{mlflow}/api/2.0/mlflow/registered-models/alias", params={"name": "small", "alias": "best"}
            )
            return answer.raise_for_status()

        rates: dict[str, list[float]] = {"many": [], "one": [], "empty": [], "MLflow": []}
        latencies: dict[str, list[float]] = {"ours": [], "empty": []}
        for _ in range(rounds):
            token = await _token(server)
            rates["empty"].append(await _rate(call_nothing, seconds))
            rates["many"].append(await _rate(lambda: resolve(next(requests)), seconds))
            rates["one"].append(await _rate(resolve, seconds))
            if mlflow:
                rates["MLflow"].append(await _rate(call_mlflow, seconds, width=MLFLOW_IN_FLIGHT))
            latencies["empty"].append(await _latency(call_nothing))
            latencies["ours"].append(await _latency(resolve))
    return [
        _against(f"resolve {ALIASES} aliases, {IN_FLIGHT} in flight", rates, "many", "empty", 0.35),
        _against(f"resolve one alias, {IN_FLIGHT} in flight", rates, "one", "empty", 0.35),
        *([_against("  beside MLflow's", rates, "one", "MLflow", 15)] if mlflow else []),
        _alone(latencies),
    ]


def _against(work: str, rates: dict[str, list[float]], ours: str, peer: str, bar: float) -> Result:
    """Calls a second beside a peer's: the median of the ratios of the rounds, as the machine may be busier in some."""
    ratios = [mine / theirs for mine, theirs in zip(rates[ours], rates[peer], strict=True)]
    ratio = statistics.median(ratios)
    mine, theirs = statistics.median(rates[ours]), statistics.median(rates[peer])
    detail: dict[str, object] = {"ours": rates[ours], "peer": rates[peer]}
    return Result("P10", work, mine, theirs, f"{peer} calls/s", "calls/s", ratio, f"≥ {bar:g}", ratio >= bar, detail)


def _alone(latencies: dict[str, list[float]]) -> Result:
    ours, empty = latencies["ours"], latencies["empty"]
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, empty, strict=True))
    mine, theirs = statistics.median(ours) * 1000, statistics.median(empty) * 1000
    detail: dict[str, object] = {"ours": ours, "peer": empty}
    return Result("P10", "  alone", mine, theirs, "ms empty", "ms", ratio, "≤ 3", ratio <= 3, detail)


async def _token(server: Server) -> str:
    async with grpc.aio.insecure_channel(server.address) as channel:
        request = pb.ExchangeApiKeyRequest(secret=server.env["MODELKEEP_API_KEY"])
        return str((await rpc.MetadataServiceStub(channel).ExchangeApiKey(request, timeout=10)).access_token)


_EMPTY_SERVER = """
import asyncio, sys, grpc
class Empty(grpc.GenericRpcHandler):
    def service(self, details):
        async def call(request, context):
            return b""
        return grpc.unary_unary_rpc_method_handler(call)
async def main():
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Empty(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()
asyncio.run(main())
"""


def p10(folder: Path, seconds: float, rounds: int, *, beside_mlflow: bool) -> list[Result]:
    """Resolve, with authentication and metrics on; MLflow takes half a minute to start."""
    with ExitStack() as stack:
        mlflow = stack.enter_context(_mlflow_server(folder)) if beside_mlflow else ""
        empty = stack.enter_context(_empty_server())
        server = stack.enter_context(modelkeep_server(folder))
        _fill(server)
        return asyncio.run(_measure(server, empty, mlflow, seconds, rounds))


@contextmanager
def _mlflow_server(folder: Path) -> Iterator[str]:
    """MLflow with one model and one alias: its address."""
    port, store = free_port(), f"sqlite:///{folder}/mlflow.db"
    mlflow = str(Path(sys.executable).with_name("mlflow"))
    command = [mlflow, "server", "--backend-store-uri", store, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    url = f"http://127.0.0.1:{port}"
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=env, start_new_session=True)
        try:
            wait_until(lambda: _answers(f"{url}/health"), "the start of MLflow", 120)
            _fill_mlflow(url)
            yield url
        finally:
            process.terminate()
            process.wait(30)
            subprocess.run(["pkill", "-f", store], check=False)


@contextmanager
def _empty_server() -> Iterator[str]:
    """A server whose one call does nothing: its address."""
    with subprocess.Popen([sys.executable, "-c", _EMPTY_SERVER], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except OSError:
        return False
    return True


def _fill_mlflow(url: str) -> None:
    with httpx.Client(base_url=f"{url}/api/2.0/mlflow", timeout=60) as web:
        web.post("/registered-models/create", json={"name": "small"}).raise_for_status()
        web.post("/model-versions/create", json={"name": "small", "source": "s3://bucket/small"}).raise_for_status()
        web.post("/registered-models/alias", json={"name": "small", "alias": "best", "version": "1"}).raise_for_status()


def _fill(server: Server) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"weights")
        file.flush()
        with modelkeep.init(project="bench", url=server.env["MODELKEEP_URL"], api_key=server.env["MODELKEEP_API_KEY"]) as run:
            for number in range(ALIASES):
                artifact = modelkeep.Artifact(f"small{number}", type="model")
                artifact.add_file(file.name, name="weights.bin")
                run.log_artifact(artifact, aliases=["best"])


def p15(rounds: int) -> list[Result]:
    """The time of `import modelkeep` in a fresh interpreter, over that interpreter alone."""
    code = "import time; t = time.perf_counter(); import modelkeep; print(time.perf_counter() - t)"
    taken = [float(subprocess.check_output([sys.executable, "-c", code])) * 1000 for _ in range(max(rounds, 9))]
    median = statistics.median(taken)
    return [Result("P15", "import modelkeep", median, None, "", "ms", None, "≤ 250", median <= 250)]
