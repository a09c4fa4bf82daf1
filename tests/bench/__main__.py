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
from tests.bench.p_bytes import folders, p1, p2_p3_p8, p2_safetensors
from tests.bench.p_calls import p10, p15
from tests.bench.p_changed import p4, p5
from tests.bench.p_files import p6, p7_p9, p13
from tests.bench.p_graph import p11
from tests.bench.p_log import p_log
from tests.servers import stop_all


def main() -> None:
    """Run what is asked for; exit 1 when a bar that is promised was missed, by a run of the full sizes."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: ends in two minutes, says little")
    parser.add_argument(
        "--only",
        default="",
        help="comma-separated: p1,p2,p4,p5,p6,p7,p10,p11,log,p13,p15; p2 brings P3 and P8, p7 P9",
    )
    parser.add_argument("--size-mib", type=int, default=0, help="size of the checkpoint (default 4,096; quick 64)")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of A B (default 5; quick 1)")
    parser.add_argument("--json", type=Path, help="write the run here")
    options = parser.parse_args()
    quick = options.quick
    size = (options.size_mib or (64 if quick else 4096)) * MIB
    rounds = options.rounds or (1 if quick else 5)
    seconds = 1.0 if quick else 10.0
    files, entries, nodes = (1_000, 20_000, 20_000) if quick else (100_000, 1_000_000, 1_000_000)
    os.environ["MODELKEEP_PROGRESS"] = "0"
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # an installed package has its bytecode; to compile it is not what we measure

    disk, *memory = folders()
    steps: list[tuple[str, Callable[[], Path], Callable[[Path], list[Result]]]] = [
        ("p15", disk, lambda _: p15(rounds)),
        *(("p1", place, lambda folder: p1(folder, size, rounds)) for place in (disk, *memory)),
        ("p2", disk, lambda folder: p2_p3_p8(folder, size, rounds)),
        ("p2", disk, lambda folder: p2_safetensors(folder, size, min(rounds, 3))),
        ("p4", disk, lambda folder: p4(folder, size)),
        ("p5", disk, lambda folder: p5(folder, size, rounds)),
        ("p6", disk, lambda folder: p6(folder, files, rounds)),
        ("p7", disk, lambda folder: p7_p9(folder, files, rounds)),
        ("p10", disk, lambda folder: p10(folder, seconds, rounds, beside_mlflow=not quick)),
        ("p11", disk, lambda folder: p11(folder, nodes, rounds)),
        ("log", disk, lambda folder: p_log(folder, 1_000 if quick else 10_000, rounds)),
        ("p13", disk, lambda folder: p13(folder, entries, min(rounds, 3))),
    ]
    wanted = set(filter(None, options.only.lower().split(","))) or {name for name, _, _ in steps}
    results: list[Result] = []
    run = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "size_gib": size / GIB,
        "files": files,
        "entries": entries,
        "nodes": nodes,
        "rounds": rounds,
    }
    for name, place, step in steps:
        if name in wanted:
            results += _in_folder(place, step)
            if options.json:  # after each line: an hour is long
                told = run | {"results": [result.as_json() for result in results]}
                options.json.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    print(table(results))
    if quick:
        print("Sizes as small as these say little, so no bar is judged. The full run takes about an hour: make bench")
    sys.exit(not quick and any(result.met is False for result in results))


def _in_folder(place: Callable[[], Path], step: Callable[[Path], list[Result]]) -> list[Result]:
    folder = place()
    try:
        return step(folder)
    finally:
        stop_all()  # a store keeps all that the rounds of a line sent: 40 GiB and more
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
