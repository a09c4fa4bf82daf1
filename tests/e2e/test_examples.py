"""The examples that go on where the demo ends: the best run with its data, and a process that evaluates every new model."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli

EXAMPLES = Path(__file__).parents[2] / "clients" / "python" / "examples"
SECONDS = 300


def example(cli: Cli, script: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, cwd=cli.folder, env=cli.env, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def digits(cli_with, suite) -> Cli:  # type: ignore[no-untyped-def]
    """The project `digits` of a team that nobody else has, with two training runs in it."""
    cli = cli_with(suite.key("examples"))
    cli.env["MODELKEEP_PROJECT"] = "digits"
    return cli


AGAIN = """
import modelkeep
with modelkeep.init(project="digits", name="again", job_type="train") as run:
    run.log({"accuracy": 1.0})
    print("deduplicated", run.log_artifact("best-model", "digits", "model").deduplicated)
"""


@pytest.mark.one_topology
@pytest.mark.timeout(900)
def test_the_best_run_and_every_new_model(digits: Cli) -> None:
    example(digits, "prepare_digits.py")
    example(digits, "train_digits.py", "--epochs", "1", "--lr", "1e-4")
    command = [sys.executable, str(EXAMPLES / "evaluate_new.py"), "--count", "3"]
    with subprocess.Popen(command, cwd=digits.folder, env=digits.env, stdout=subprocess.PIPE, text=True) as waiting:
        try:
            assert waiting.stdout is not None
            assert waiting.stdout.readline().startswith("digits:v0: accuracy 0.")
            example(digits, "train_digits.py", "--epochs", "2")
            rest = waiting.communicate(timeout=SECONDS)[0].splitlines()
            assert waiting.returncode == 0
        finally:
            waiting.kill()
    assert [line[:9] for line in rest] == ["digits:v1", "digits:v2"]
    evaluated = digits("run", "ls", "--filter", "job_type = evaluate", "--order", "start_time", "--json").json
    assert [run["name"] for run in evaluated] == ["evaluate-v0", "evaluate-v1", "evaluate-v2"]
    assert all(0 < run["summary"]["accuracy"] < 1 for run in evaluated)

    told = example(digits, "best_run.py", "accuracy", "best-model")
    found = re.search(r"its best model is (digits:v[12]), in best-model", told)
    assert found, told
    best = digits("show", found[1], "--json").json
    assert f"accuracy {best['metadata']['accuracy']:.4f}" in told
    assert (digits.folder / "best-model" / "model.safetensors").exists()
    data = digits("show", "digits-data", "--json").json
    assert told.splitlines()[-1] == f"it was made from digits-data:v0, {data['digest']}"

    done = subprocess.run(
        [sys.executable, "-c", AGAIN], cwd=digits.folder, env=digits.env, capture_output=True, text=True, check=False
    )
    assert done.stdout == "deduplicated True\n", done.stderr
    told = example(digits, "best_run.py", "accuracy", "best-again")
    assert told.startswith("the best of the training runs is again: accuracy 1.0000")
    assert f"its best model is {found[1]}, in best-again" in told, "of which it is one more producer"
