"""What the README shows is run as it stands there, in its order, in one folder."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.suites import BIN, Suite

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.mark.one_topology
def test_the_snippets_run(suite: Suite, tmp_path: Path) -> None:
    # The project of the README, with a cache and a team that nobody else has.
    env = suite.client("hello", suite.key("readme"), MODELKEEP_CACHE_DIR=str(tmp_path / "cache"))
    script = "\n".join(blocks("python"))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    printed = re.sub(r"sha256:\w+", "sha256:…", done.stdout).replace(str(tmp_path), "")
    assert printed.startswith("logged first:v0 sha256:…\nfetched first:v0 {'acc': 0.91} b'the weights'\n"), printed
    asked = "found first:v1 {'acc': 0.91}\nbest 0.95 made ['tuned:v0']\nfrom ['first:v1']\ntuned:v0  (model)  as tuned:best"
    assert asked in printed, printed
    assert "   └─ used first:v1  (model)  as first:best" in printed
    assert "\n# The first one\n\n# The first one\n\nserving first:v1 from /models/" in printed
    assert printed.endswith("recorded second@sha256:…\n")

    lines = [shlex.split(line, comments=True) for line in README.splitlines() if line.startswith("modelkeep ")]
    commands = [line for line in lines if {"sync", "sign", "signing-key", "--key"} & {*line}]
    assert [command[1] for command in commands] == ["sync", "signing-key", "sign", "get"]
    for _, *arguments in commands:
        done = subprocess.run(
            [str(BIN / "modelkeep"), *arguments],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, (arguments, done.stderr)
    assert (tmp_path / "signed" / "card.md").read_text() == "# The first one\n"
    shown = subprocess.run(
        [str(BIN / "modelkeep"), "show", "second:best", "--json"],
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert json.loads(shown.stdout)["digest"]
