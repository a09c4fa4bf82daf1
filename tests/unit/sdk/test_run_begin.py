"""Beginning a run: with an id or without, anew or going on; what of its surroundings it tells, and that it hides secrets."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import modelkeep
import numpy as np
import pytest
from modelkeep import _capture

from tests.unit.sdk.lineage import Lineage

CANARY = "hunter2canary"


def test_what_is_said_arrives(lineage: Lineage) -> None:
    config = {"lr": np.float32(0.5), "bad": math.nan, "where": Path("a/b"), "dims": (1, 2), "token": CANARY}
    run = modelkeep.init("vision", name="n", job_type="train", config=config, group="g", tags=["b", "a"], notes="# N")
    run.finish()
    (told,) = lineage.runs.values()
    assert (told.display_name, told.job_type, told.group, list(told.tags), told.notes) == ("n", "train", "g", ["b", "a"], "# N")
    assert json.loads(told.config_json) == {"lr": 0.5, "bad": "NaN", "where": "a/b", "dims": [1, 2], "token": "***"}
    assert run.config["token"] == CANARY
    assert (told.name, run.resumed) == (run.resource_name, False)


def test_a_config_may_be_what_argparse_makes(lineage: Lineage) -> None:
    with modelkeep.init("vision", config=argparse.Namespace(lr=0.1)) as run:  # type: ignore[arg-type]
        assert run.config == {"lr": 0.1}
    with pytest.raises(modelkeep.InvalidArgument, match="expected a mapping"):
        modelkeep.init("vision", config=3)  # type: ignore[arg-type]


def test_a_key_that_is_no_text_is_the_one_that_a_run_had_as_text(lineage: Lineage) -> None:
    modelkeep.init("vision", id="r1", config={1: "a", "b": 1}, capture="none").finish()
    with modelkeep.init("vision", id="r1", resume="must", config={1: "c"}, capture="none") as again:
        assert again.config == {"b": 1, 1: "c"}
    (told,) = lineage.runs.values()
    assert json.loads(told.config_json) == {"1": "c", "b": 1}


def test_a_config_that_is_too_large_is_refused_before_it_is_sent(lineage: Lineage) -> None:
    with pytest.raises(modelkeep.LimitExceeded, match=r"10,000,\d+ bytes.* as an artifact"):
        modelkeep.init("vision", config={"text": "x" * 10_000_000})
    assert lineage.runs == {}


def test_an_id_that_is_taken_says_how_to_go_on(lineage: Lineage) -> None:
    modelkeep.init("vision", id="r1").finish()
    for how in (None, "never"):
        with pytest.raises(modelkeep.RunExists, match=r"'r1' .* resume='allow'"):
            modelkeep.init("vision", id="r1", resume=how)  # type: ignore[arg-type]


def test_a_run_goes_on(lineage: Lineage, monkeypatch: pytest.MonkeyPatch) -> None:
    with modelkeep.init("vision", id="r1", name="first", job_type="train", config={"a": 1, "b": 1}, tags=["x"]) as run:
        run.log({"loss": 0.5}, step=41)
        run.summary["note"] = "kept"
    monkeypatch.setenv("MODELKEEP_RUN_ID", "r1")
    monkeypatch.setenv("MODELKEEP_RESUME", "must")
    with modelkeep.init("vision", config={"b": 2}, tags=["y"], notes="again") as again:
        assert (again.name, again.job_type, again.resumed, again.step) == ("first", "train", True, 42)
        assert (again.config, again.tags) == ({"a": 1, "b": 2}, ("x", "y"))
        assert again.summary["note"] == "kept"
        again.log({"loss": 0.25})
    assert lineage.points == [("loss", 41, 0.5), ("loss", 42, 0.25)]
    (told,) = lineage.runs.values()
    assert json.loads(told.config_json) == {"a": 1, "b": 2}
    assert (told.display_name, told.notes) == ("first", "again")


def test_a_run_that_goes_on_has_its_numbers_as_numbers(lineage: Lineage) -> None:
    with modelkeep.init("vision", id="r1", config={"clip": math.inf}) as run:
        run.summary["nested"] = {"a": math.nan, "b": [-math.inf]}
    with modelkeep.init("vision", id="r1", resume="must") as again:
        assert again.config == {"clip": math.inf}
        assert math.isnan(again.summary["nested"]["a"])
        assert again.summary["nested"]["b"] == [-math.inf]


def test_a_run_that_goes_on_sums_its_metrics_up_as_before(lineage: Lineage) -> None:
    with modelkeep.init("vision", id="r1") as run:
        run.define_metric("a", summary="max")
        run.define_metric("early", summary="min")
        run.define_metric("none", summary="none")
        run.log({"a": 3.0, "late": 3.0, "none": 1.0})
    with modelkeep.init("vision", id="r1", resume="must") as again:
        again.log({"a": 1.0, "late": 2.0, "none": 2.0, "early": 5.0})
        again.log({"early": 6.0})
        again.define_metric("late", summary="max")
        assert again.summary == {"a": 3.0, "late": 3.0, "early": 5.0}
    assert lineage.calls.count("ListMetrics") == 1


def test_a_run_that_is_not_there(lineage: Lineage) -> None:
    with pytest.raises(modelkeep.RunNotFound, match="no run teams/t/projects/vision/runs/r1 to resume"):
        modelkeep.init("vision", id="r1", resume="must")
    with modelkeep.init("vision", id="r1", resume="allow") as run:
        assert not run.resumed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"resume": "must"}, "needs the id"),
        ({"resume": "auto"}, "'auto' is no way to resume"),
        ({"id": "a/b"}, "is not a run id"),
        ({"tags": ["a/b"]}, "is not a tag"),
        ({"capture": "gti"}, "'gti' is nothing that a run captures"),
        ({"capture": "-all"}, "'-all' is nothing that a run captures; name some of .* or none"),
        ({"capture": 5}, "an int is nothing that a run captures"),
        ({"capture": ["git", 5]}, "an int is nothing that a run captures"),
        ({"job_type": "a b"}, "is not a job type"),
    ],
)
def test_what_makes_no_sense_is_refused_first(lineage: Lineage, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(modelkeep.InvalidArgument, match=says):
        modelkeep.init("vision", **arguments)
    assert lineage.calls.seen == []


ALL = frozenset(_capture.ITEMS)


@pytest.mark.parametrize(
    ("said", "items"),
    [
        ("all", ALL),
        ("", ALL),
        ("none", frozenset()),
        ("git, host", {"git", "host"}),
        (["diff"], {"diff"}),
        ([], frozenset()),
        (frozenset(), frozenset()),
        ("-user,-host", ALL - {"user", "host"}),
        ("all,-git", ALL - {"git"}),
    ],
)
def test_what_is_captured_is_chosen(said: Any, items: frozenset[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert _capture.chosen(said, None) == items
    assert _capture.chosen(said, save_code=False) == items - {"diff", "script"}
    if isinstance(said, str):
        monkeypatch.setenv("MODELKEEP_CAPTURE", said)
        assert _capture.chosen(None, None) == items
    monkeypatch.setenv("MODELKEEP_SAVE_CODE", "false")
    assert _capture.chosen(said, None) == items - {"diff", "script"}
    monkeypatch.setenv("MODELKEEP_SAVE_CODE", "perhaps")
    with pytest.raises(modelkeep.InvalidArgument, match="expected true or false"):
        _capture.chosen(said, None)


def test_its_surroundings_are_told_without_secrets(lineage: Lineage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["-c", "--lr", "0.1", "--password", CANARY, "seen:" + "mk_key", *["x" * 1000] * 100])
    with modelkeep.init("vision", capture="arguments,host,user,platform,packages"):
        pass
    (told,) = lineage.runs.values()
    assert list(told.source.arguments[:3]) == ["--lr", "0.1", "--password"]
    assert CANARY not in str(told)
    assert told.source.arguments[-1] == "…", "only the beginning of a command line without end"
    assert told.environment.host
    assert told.environment.user
    assert told.environment.python_version == sys.version.split()[0]
    assert any(package.startswith("pytest==") for package in told.environment.packages)


def test_keys_that_are_set_later_are_told_without_secrets(lineage: Lineage) -> None:
    with modelkeep.init("vision", config={f"https://u:{CANARY}@h": 0}, capture="none") as run:
        for values in (run.config, run.summary):
            values[f"https://u:{CANARY}@h"] = 1
            values[f"https://u:{CANARY}@gone"] = 1
            run.flush()
            del values[f"https://u:{CANARY}@gone"]
    (told,) = lineage.runs.values()
    assert json.loads(told.config_json) == {"https://***@h": 1}
    assert json.loads(told.summary_json) == {"https://***@h": 1, "https://***@gone": None}


def test_keys_that_are_alike_without_their_secrets_are_told_apart(lineage: Lineage) -> None:
    one, two = (f"https://{user}:{CANARY}@h" for user in "ab")
    with modelkeep.init("vision", config={one: 1, two: 2}, capture="none") as run:
        run.config[two] = 3
        run.flush()
        del run.config[one]
    (told,) = lineage.runs.values()
    assert json.loads(told.config_json) == {"https://***@h (2)": 3}


def test_nothing_is_told_when_it_is_switched_off(lineage: Lineage) -> None:
    with modelkeep.init("vision", capture="none"):
        pass
    (told,) = lineage.runs.values()
    assert not told.source.ByteSize()
    assert not told.environment.ByteSize()
    assert lineage.calls.count("CreateDraft") == 0


def test_beginning_loads_nothing_that_can_wait() -> None:
    """P15: what finds out about code and packages comes in later, in the background."""
    program = (
        "import sys, modelkeep._init; later = {'modelkeep._git', 'modelkeep._offline', 'importlib.metadata', 'numpy', 'rich'};"
        " print(sorted(later & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_importing_loads_few_modules() -> None:
    """P15: counted, as seconds depend on the machine."""
    program = "import sys; before = set(sys.modules); import modelkeep; print(len(set(sys.modules) - before))"
    assert int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout) < 40
