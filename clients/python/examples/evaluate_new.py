"""Wait for new models, and evaluate each on the data that it was trained from; those that were evaluated before are left out.

python evaluate_new.py --count 3        with a server running that has `digits` (see train_digits.py); ends after three
"""

import argparse
import tempfile
from collections.abc import Iterator
from itertools import islice

import modelkeep
from digits import evaluate


def new_models(api: modelkeep.Api, name: str) -> Iterator[modelkeep.Version]:
    """Every version that no evaluation has used, oldest first; then those to come, for ever."""
    newest = -1
    with tempfile.TemporaryDirectory() as folder, modelkeep.follow(f"{name}:latest", root=folder, spread_seconds=0) as current:
        while True:
            for version in api.versions(name, filter=f"version > {newest}", order="version"):
                newest = version.number
                if next(version.used_by("evaluate"), None) is None:
                    yield version
            current.wait()  # until `latest` moves; what came meanwhile is listed


def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluate every new model.")
    parser.add_argument("--count", type=int, help="end after so many; else never")
    count = parser.parse_args().count

    api = modelkeep.Api(project="digits")
    for model in islice(new_models(api, "digits/digits"), count):
        source = next(api.sources(model, type="dataset"), None)
        held_out = source.version() if source else "digits-data:latest"
        with modelkeep.init(project="digits", job_type="evaluate", name=f"evaluate-{model.version}") as run:
            measured = evaluate(run, run.use_artifact(model), run.use_artifact(held_out))
            print(f"{model.name}: accuracy {measured:.4f}", flush=True)


if __name__ == "__main__":
    main()
