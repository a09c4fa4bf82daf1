"""How we measure: two sides, interleaved, the median of several rounds, and the clock stops only after fsync and commit."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter

MIB = 1 << 20
GIB = 1 << 30


@dataclass
class Result:
    """One line of the table: ours against a peer's, and the bar."""

    id: str
    work: str
    ours: float
    """Median seconds, bytes, or calls a second: `unit` says which."""
    peer: float | None
    peer_name: str
    unit: str
    ratio: float | None
    bar: str
    met: bool | None
    """None when this line only reports."""
    detail: dict[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Cost:
    """What a child process took."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: dict[str, object]


def run(command: list[str], **options: object) -> Cost:
    """Run a command to its end; its own wall time when it prints JSON with `seconds`, else from here."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    seconds = perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(f"{command[:4]} failed: {done.stderr[-2000:]}")
    try:
        output = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        output = {}
    if not isinstance(output, dict):
        output = {}
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(float(output.get("seconds", seconds)), cpu, int(output.get("peak_bytes", 0)), output)


def client(*arguments: str, env: dict[str, str]) -> Cost:
    """Run `tests.bench.client` in a process of its own."""
    return run([sys.executable, "-m", "tests.bench.client", *arguments], env={**os.environ, **env})


def peak_bytes(pid: int | str) -> int:
    """The most memory that a process had so far. Not `ru_maxrss`: that begins with what its parent had."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def interleave(rounds: int, ours: Callable[[int], float], peer: Callable[[int], float]) -> tuple[float, float]:
    """Medians of A B A B …"""
    first: list[float] = []
    second: list[float] = []
    for round_ in range(rounds):
        first.append(ours(round_))
        second.append(peer(round_))
    return statistics.median(first), statistics.median(second)


def make_file(path: Path, size: int) -> Path:
    """A file of bytes that nothing can compress or dedup."""
    with path.open("wb") as out:
        for start in range(0, size, 16 * MIB):
            out.write(os.urandom(min(16 * MIB, size - start)))
        out.flush()
        os.fsync(out.fileno())
    return path


def table(results: list[Result]) -> str:
    """The results for people."""
    rows = [("", "work", "ours", "peer", "ratio", "bar", "")]
    for r in results:
        verdict = {True: "met", False: "MISSED", None: "reported"}[r.met]
        peer = "" if r.peer is None else f"{r.peer:,.2f} {r.peer_name}"
        ratio = "" if r.ratio is None else f"{r.ratio:.2f}"
        rows.append((r.id, r.work, f"{r.ours:,.2f} {r.unit}", peer, ratio, r.bar, verdict))
    widths = [max(len(row[i]) for row in rows) for i in range(7)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
