"""Measure Modelkeep beside its peers: `make bench`, or `make bench args=--quick`.

Each number is a ratio against a peer in the same run on the same machine; sizes and rounds are in the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench.measure import GIB, MIB, Result, table
from tests.bench.p_bytes import folders, p1, p2_p3_p8
from tests.bench.p_calls import p10, p15


def main() -> None:
    """Run what is asked for; exit 1 when a bar that is promised was missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: ends in about two minutes, says little")
    parser.add_argument("--only", default="", help="comma-separated: p1,p2,p10,p15 (p2 brings P3 and P8)")
    parser.add_argument("--size-mib", type=int, default=0, help="size of the checkpoint (default 4,096; quick 256)")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of A B (default 5; quick 1)")
    parser.add_argument("--json", type=Path, help="write the run here")
    options = parser.parse_args()
    size = (options.size_mib or (256 if options.quick else 4096)) * MIB
    rounds = options.rounds or (1 if options.quick else 5)
    seconds = 3.0 if options.quick else 10.0
    wanted = set(filter(None, options.only.lower().split(","))) or {"p1", "p2", "p10", "p15"}
    os.environ["MODELKEEP_PROGRESS"] = "0"

    results: list[Result] = []
    if "p15" in wanted:
        results += p15(rounds)
    disk, *memory = folders()
    steps: list[tuple[str, Callable[[], Path], Callable[[Path], list[Result]]]] = [
        *(("p1", place, lambda folder: p1(folder, size, rounds)) for place in (disk, *memory)),
        ("p2", disk, lambda folder: p2_p3_p8(folder, size, rounds)),
        ("p10", disk, lambda folder: p10(folder, seconds, rounds)),
    ]
    for name, place, step in steps:
        if name in wanted:
            results += _in_folder(place, step)
    print(table(results))
    run = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "size_gib": size / GIB,
        "rounds": rounds,
        "results": [result.as_json() for result in results],
    }
    if options.json:
        options.json.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n")
    sys.exit(any(result.met is False for result in results))


def _in_folder(place: Callable[[], Path], step: Callable[[Path], list[Result]]) -> list[Result]:
    folder = place()
    try:
        return step(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
