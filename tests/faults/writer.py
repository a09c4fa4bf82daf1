"""A client that logs versions for as long as it lives, and prints one JSON line for each that was acknowledged.

python -m tests.faults.writer NAME SEED COUNT
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path

import modelkeep


def main() -> None:
    name, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    dice = random.Random(seed)
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            for part in range(dice.randint(1, 4)):
                size = dice.choice([0, 10, 5_000, 1_500_000, 3_000_000])
                (Path(folder) / f"part-{part}.bin").write_bytes(dice.randbytes(size))
            (Path(folder) / "which.txt").write_text(f"{seed}/{number}")
            try:
                artifact = modelkeep.Artifact(name, type="model", metadata={"number": number})
                artifact.add_dir(folder)
                with modelkeep.init(project="faults") as run:
                    version = run.log_artifact(artifact, aliases=[f"seed-{seed}"])
            except modelkeep.ModelkeepError as error:
                print(json.dumps({"failed": type(error).__name__, "number": number}), flush=True)
                continue
            told = {"name": version.name, "digest": str(version.digest), "number": number, "run": run.id}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
