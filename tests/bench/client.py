"""The client side of a measurement, in a process of its own: prints seconds and peak memory as JSON.

python -m tests.bench.client log FILE           a new version of `bench`
python -m tests.bench.client fetch FOLDER       its newest version
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

import modelkeep

from tests.bench.measure import peak_bytes


def log(path: str) -> None:
    """Log one file and commit it."""
    artifact = modelkeep.Artifact("bench", type="model")
    artifact.add_file(path)
    with modelkeep.init(project="bench") as run:
        run.log_artifact(artifact)


def fetch(folder: str) -> None:
    """Download and verify."""
    modelkeep.Api(project="bench").artifact("bench:latest").download(folder)


def main() -> None:
    start = perf_counter()
    {"log": log, "fetch": fetch}[sys.argv[1]](sys.argv[2])
    seconds = perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes("self")}))


if __name__ == "__main__":
    main()
