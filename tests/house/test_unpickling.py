"""Nothing of ours unpickles: a pickle runs what its maker wrote, and models come from anywhere."""

import ast
from pathlib import Path

import pytest

from tests.house.repository import PRODUCT, python_files, relative

UNPICKLERS = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
"""Modules that run code while they read."""
READERS = {"allow_pickle", "weights_only"}
"""What opens that door in numpy and torch; the defaults of both keep it shut, and torch.load is not called at all."""


def _doors(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.split(".")[0] in UNPICKLERS]
        if isinstance(node, ast.keyword) and node.arg in READERS:
            found.append(node.arg)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "pd.read_pickle", "eval", "exec"}:
            found.append(ast.unparse(node.func))
    return found


@pytest.mark.peer("M-PKL-2")
def test_nothing_of_ours_unpickles():
    assert {relative(path): doors for path in python_files(*PRODUCT) if (doors := _doors(path))} == {}


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from joblib import load", "np.load(f, allow_pickle=True)", "torch.load(f)", "def f():\n    import dill"],
)
def test_a_door_would_be_found(line: str, tmp_path: Path):
    file = tmp_path / "x.py"
    file.write_text(line)
    assert len(_doors(file)) == 1
