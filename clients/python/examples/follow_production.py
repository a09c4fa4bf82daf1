"""Serve whatever `production` is: fetched beside, verified, switched in one step, while the old one goes on serving.

python follow_production.py models        with a server running that has `encoder:production`; ends with Ctrl-C
"""

import os
import sys

import modelkeep
from encoder import accuracy, data, load


def main(root: str) -> None:
    with modelkeep.follow("story/encoder:production", root=root, spread_seconds=0) as current:
        while True:
            found = accuracy(load(current.path / "model.safetensors"), *data(256, seed=2))
            print(f"  [node] serves {current.name} from {os.path.relpath(current.link)}; accuracy {found}", flush=True)
            current.wait()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(0)
