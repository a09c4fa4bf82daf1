"""Log scikit-learn's digits as a version of a dataset: the same split for every process that uses it.

python prepare_digits.py        with a server running: `modelkeep up`
"""

import tempfile
from pathlib import Path

import modelkeep
from digits import save_data


def main() -> None:
    with modelkeep.init(project="digits", job_type="prepare") as run, tempfile.TemporaryDirectory() as folder:
        save_data(str(Path(folder, "data.safetensors")))
        made = modelkeep.Artifact("digits-data", type="dataset", description="8 × 8 images, 30 % of them held out.")
        made.add_dir(folder)
        version = run.log_artifact(made)
    print(f"  {version.name} {'was there already' if version.deduplicated else 'is new'}: {version.stored_bytes:,} bytes")


if __name__ == "__main__":
    main()
