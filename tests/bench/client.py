"""The client side of a measurement, in a process of its own: prints seconds, peak memory and bytes sent as JSON.

python -m tests.bench.client log PATH           a new version of `bench`: a file, or what lies in a folder
python -m tests.bench.client fetch FOLDER       its newest version
python -m tests.bench.client commit COUNT       a version of so many small entries, once their bytes are stored
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter

import modelkeep

from tests.bench.entries import commit
from tests.bench.measure import peak_bytes


def log(path: str) -> dict[str, float]:
    """Log a file or a folder and commit it."""
    start = perf_counter()
    artifact = modelkeep.Artifact("bench", type="model")
    if Path(path).is_dir():
        artifact.add_dir(path)
    else:
        artifact.add_file(path)
    with modelkeep.init(project="bench") as run:
        version = run.log_artifact(artifact)
    return {"seconds": perf_counter() - start, "sent_bytes": version.sent_bytes}


def fetch(folder: str) -> dict[str, float]:
    """Download and verify."""
    start = perf_counter()
    modelkeep.Api(project="bench").artifact("bench:latest").download(folder)
    return {"seconds": perf_counter() - start}


def main() -> None:
    """Do one thing, and say what it took."""
    facts = {"log": log, "fetch": fetch, "commit": lambda count: commit(int(count))}[sys.argv[1]](sys.argv[2])
    print(json.dumps(facts | {"peak_bytes": peak_bytes("self")}))


if __name__ == "__main__":
    main()
