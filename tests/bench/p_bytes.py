"""P1, P2, P3, P8 and the memory of P15: bytes in and out, against cp, openssl and s5cmd."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from minio.deleteobjects import DeleteObject

from tests.bench.material import make_checkpoint
from tests.bench.measure import GIB, MIB, Result, client, interleave, make_file, run
from tests.bench.parts import modelkeep_server
from tests.proxy import Proxy
from tests.servers import S3, seaweedfs

S5CMD = str(Path(sys.executable).with_name("s5cmd"))


def p1(folder: Path, size: int, rounds: int) -> list[Result]:
    """Log a checkpoint, embedded, against `cp`, fsynced, and `openssl dgst -sha256`."""
    source = make_file(folder / "checkpoint.bin", size)
    peaks: list[int] = []

    def ours(_round: int) -> float:
        with modelkeep_server(folder) as server:
            cost = client("log", str(source), env=server.env)
            peaks.extend([cost.peak_bytes, server.peak_bytes])
            return cost.seconds

    def peer(_round: int) -> float:
        copy = folder / "copy.bin"
        cost = run(["sh", "-c", f"cp '{source}' '{copy}' && sync '{copy}' && openssl dgst -sha256 '{copy}'"])
        copy.unlink()
        return cost.seconds

    mine, theirs = interleave(rounds, ours, peer)
    source.unlink()
    where = "tmpfs" if str(folder).startswith("/dev/shm") else "disk"
    work = f"log {size // MIB:,} MiB, embedded, {where}"
    detail: dict[str, object] = {"size_bytes": size, "rounds": rounds, "peak_bytes": max(peaks)}
    return [Result("P1", work, mine, theirs, "s cp+openssl", "s", mine / theirs, "≤ 1.5", mine / theirs <= 1.5, detail)]


def s5cmd(store: S3, *words: str) -> list[str]:
    """A command of s5cmd on the store."""
    return [S5CMD, "--endpoint-url", f"http://{store.endpoint}", *words]


def s5cmd_env(store: S3) -> dict[str, str]:
    """What s5cmd needs to reach the store."""
    return {
        **os.environ,
        "AWS_ACCESS_KEY_ID": store.access_key,
        "AWS_SECRET_ACCESS_KEY": store.secret_key,
        "AWS_REGION": "us-east-1",
    }


def p2_p3_p8(folder: Path, size: int, rounds: int) -> list[Result]:
    """Log to S3 and fetch cold from it, against s5cmd on the same store; bytes through our servers, counted by a proxy."""
    source = make_file(folder / "checkpoint.bin", size)
    facts: dict[str, list[float]] = {
        name: [] for name in ("up", "down", "cpu", "s5cpu", "fetch", "s5fetch", "memory", "server")
    }

    def ours(_round: int) -> float:
        store = seaweedfs()
        with modelkeep_server(folder, store) as server, Proxy(server.address) as proxy:
            env = server.env | {"MODELKEEP_URL": f"grpc://{proxy.address}"}
            cost = client("log", str(source), env=env)
            facts["up"].append(proxy.bytes_total)
            facts["cpu"].append(cost.cpu_seconds)
            facts["memory"].append(cost.peak_bytes)
            with tempfile.TemporaryDirectory(dir=folder) as target:
                before = proxy.bytes_total
                fetched = client("fetch", target, env=env)
                facts["down"].append(proxy.bytes_total - before)
                facts["fetch"].append(fetched.seconds)
                facts["memory"].append(fetched.peak_bytes)
            facts["server"].append(server.peak_bytes)
        empty(store)
        return cost.seconds

    def peer(_round: int) -> float:
        store = seaweedfs()
        cost = run(s5cmd(store, "cp", str(source), f"s3://{store.bucket}/copy.bin"), env=s5cmd_env(store))
        facts["s5cpu"].append(cost.cpu_seconds)
        copy = folder / "copy.bin"
        fetched = run(s5cmd(store, "cp", f"s3://{store.bucket}/copy.bin", str(copy)), env=s5cmd_env(store))
        facts["s5fetch"].append(fetched.seconds)
        copy.unlink()
        empty(store)
        return cost.seconds

    mine, theirs = interleave(rounds, ours, peer)
    source.unlink()
    return _results(size, mine, theirs, {name: sorted(values)[len(values) // 2] for name, values in facts.items()})


def p2_safetensors(folder: Path, size: int, rounds: int) -> list[Result]:
    """The CPU time that a client spends on logging tensors to S3, where no content has to be searched for cuts."""
    source = make_checkpoint(folder / "model.safetensors", size)

    def ours(_round: int) -> float:
        store = seaweedfs()
        with modelkeep_server(folder, store) as server:
            spent = client("log", str(source), env=server.env).cpu_seconds
        empty(store)
        return spent

    def peer(_round: int) -> float:
        store = seaweedfs()
        spent = run(s5cmd(store, "cp", str(source), f"s3://{store.bucket}/copy"), env=s5cmd_env(store)).cpu_seconds
        empty(store)
        return spent

    mine, theirs = interleave(rounds, ours, peer)
    source.unlink()
    ratio = mine / theirs
    return [Result("P2", "  client CPU, safetensors", mine, theirs, "s s5cmd", "s", ratio, "≤ 0.7", ratio <= 0.7)]


def _results(size: int, mine: float, theirs: float, middle: dict[str, float]) -> list[Result]:
    per_gib = middle["up"] / size * GIB / MIB
    cpu = middle["cpu"] / middle["s5cpu"]
    fetch = middle["fetch"] / middle["s5fetch"]
    peak = middle["memory"] / MIB
    name = f"{size // MIB:,} MiB"
    return [
        Result("P2", f"log {name} to S3", mine, theirs, "s s5cmd", "s", mine / theirs, "≤ 1.0", mine / theirs <= 1.0),
        Result("P2", "  client CPU", middle["cpu"], middle["s5cpu"], "s s5cmd", "s", cpu, "≤ 0.9", cpu <= 0.9),
        Result("P3", "bytes through our servers", per_gib, None, "", "MiB/GiB", None, "< 1", per_gib < 1),
        Result("P8", f"cold fetch of {name}", middle["fetch"], middle["s5fetch"], "s s5cmd", "s", fetch, "≤ 1.3", fetch <= 1.3),
        Result("P15", "client memory in P2 and P8", peak, None, "", "MiB", None, "≤ 200", peak <= 200),
        Result(
            "–",
            "server memory in P2 and P8",
            middle["server"] / MIB,
            None,
            "",
            "MiB",
            None,
            "< 512",
            middle["server"] < 512 * MIB,
        ),
    ]


def empty(store: S3) -> None:
    """Remove all that the store has."""
    client_ = store.client()
    found = (DeleteObject(str(one.object_name)) for one in client_.list_objects(store.bucket, recursive=True))
    for failure in client_.remove_objects(store.bucket, found):
        raise RuntimeError(f"{failure.name} could not be removed: {failure.message}")


def folders() -> list[Callable[[], Path]]:
    """A folder on disk and one in memory, each made when asked for."""
    places = [Path(tempfile.gettempdir())]
    if Path("/dev/shm").is_dir() and shutil.disk_usage("/dev/shm").free > 12 * GIB:
        places.append(Path("/dev/shm"))
    return [lambda place=place: Path(tempfile.mkdtemp(prefix="mk-bench-", dir=place)) for place in places]  # type: ignore[misc]
