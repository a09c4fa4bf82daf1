"""Fetch the best model by its alias, check it, and predict with it. Knows nothing of the process that trained it.

python predict_digits.py        with a server running that has `digits:best` (see train_digits.py)
"""

import sys
import tempfile

import modelkeep
from digits import accuracy, data, predict
from safetensors.numpy import load_file


def main() -> None:
    with modelkeep.init(project="digits", job_type="predict") as run, tempfile.TemporaryDirectory() as folder:
        version = run.use_artifact("digits:best")
        version.download(folder)
        version.verify(folder)
        print(f"  digits:best is {version.name}, {version.digest}; fetched and verified")

        weights = load_file(f"{folder}/model.safetensors")
        _, images, _, digits = data(run.use_artifact("digits-data:latest"))
        measured, promised = accuracy(weights, images, digits), version.metadata["accuracy"]
        print(f"  the first ten held-out digits are {digits[:10].tolist()}, predicted {predict(weights, images[:10]).tolist()}")
        print(f"  accuracy {measured:.4f} measured here, {promised:.4f} in the version's metadata")
        if measured != promised:
            sys.exit("these are not the weights that were logged")


if __name__ == "__main__":
    main()
