"""LOG: what `run.log` costs the loop that calls it, while a server keeps what it is told."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from tests.bench.measure import Result, run
from tests.bench.parts import modelkeep_server

BAR_MICROSECONDS = 50.0

_LOOP = """
import json, sys, time, modelkeep
count, keys = int(sys.argv[1]), [f"metric{number}" for number in range(int(sys.argv[2]))]
with modelkeep.init("bench", capture="none") as run:
    metrics = dict.fromkeys(keys, 0.5)
    for _ in range(100):
        run.log(metrics)
    run.flush()
    took = []
    for step in range(count):
        metrics["metric0"] = step / count
        begin = time.perf_counter_ns()
        run.log(metrics)
        took.append(time.perf_counter_ns() - begin)
        time.sleep(0.0005)  # the step that is measured
    took.sort()
    print(json.dumps({
        "seconds": sum(took) / count / 1e9, "median": took[count // 2] / 1e3, "p99": took[count * 99 // 100] / 1e3,
    }), flush=True)
"""


def p_log(folder: Path, calls: int, rounds: int) -> list[Result]:
    """Time each call of a loop, with one key and with ten."""
    results = []
    with modelkeep_server(folder) as server:
        for keys in (1, 10):
            costs = [run([sys.executable, "-c", _LOOP, str(calls), str(keys)], env=server.env) for _ in range(rounds)]
            ours = statistics.median(float(str(cost.output["median"])) for cost in costs)
            detail: dict[str, object] = {
                "median": [cost.output["median"] for cost in costs],
                "p99": [cost.output["p99"] for cost in costs],
                "mean": [cost.seconds * 1e6 for cost in costs],
            }
            work = f"run.log, {keys} key{'s' if keys > 1 else ''}, a call"
            met = ours < BAR_MICROSECONDS
            results.append(Result("LOG", work, ours, None, "", "µs", None, f"< {BAR_MICROSECONDS:g} µs", met, detail))
    return results
