"""The command line as its users run it: a program, its exit code, and what it prints."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.suites import BIN
from tests.warm import Warm, fits

PROGRAM = str(BIN / "modelkeep")
SECONDS = 300
_warm = Warm()


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error that a command with `--json` ended with."""
        return json.loads(self.err[self.err.index("{") :])["error"]


@dataclass(frozen=True)
class Cli:
    """`modelkeep`, run in a folder and an environment."""

    env: dict[str, str]
    folder: Path

    def __call__(self, *arguments: str | Path, stdin: str = "", **env: str) -> Done:
        done = self._run([*map(str, arguments)], self.env | env, stdin)
        assert "Traceback" not in done.err + done.out, done.err
        for secret in (self.env.get("MODELKEEP_API_KEY"), env.get("MODELKEEP_API_KEY")):
            assert not secret or secret not in done.out + done.err, "M-SEC-1: a key was shown"
        return done

    def _run(self, arguments: list[str], env: dict[str, str], stdin: str) -> Done:
        if fits(env):
            return Done(*_warm.run(arguments, env, self.folder, stdin, SECONDS))
        command = [PROGRAM, *arguments]
        done = subprocess.run(
            command, env=env, cwd=self.folder, input=stdin, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def put(self, name: str, *more: str, type: str = "model", **files: str) -> dict[str, Any]:  # noqa: A002 - the option's name
        """Log files of these names and contents; answers the version."""
        folder = self.folder / "put" / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for file, content in (files or {"model.bin": name}).items():
            (folder / file).write_text(content)
        return self("put", folder, "--name", name, "--type", type, "--json", *more).json


@pytest.fixture
def cli(client_env: dict[str, str], tmp_path: Path) -> Cli:
    """The command line in an empty folder and a project of its own."""
    return Cli(client_env, tmp_path)


@pytest.fixture
def cli_with(suite: Any, project: str, tmp_path: Path) -> Callable[[str], Cli]:
    """The command line with another key."""
    return lambda api_key: Cli(suite.client(project, api_key), tmp_path)
