"""What is given wrongly is refused in words: no bare error of Python comes out of the SDK."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import modelkeep
import pytest
from modelkeep._plain_json import MAX_DEPTH
from modelkeep._rule import condition
from modelkeep.errors import InvalidAddress, InvalidArgument, InvalidMetadata, InvalidName, InvalidPath, InvalidTag

from tests.unit.sdk.lineage import Lineage

HUGE = 10**5000
NODE = "teams/t/projects/vision/collections/m/versions/v0"


@pytest.fixture
def run(lineage: Lineage) -> Iterator[modelkeep.Run]:
    with modelkeep.init("vision", id="r1", capture="none") as begun:
        yield begun


@pytest.mark.parametrize("given", [{"id": 5}, {"project": 5}, {"team": 5}, {"job_type": 5}])
def test_a_name_that_is_no_text(lineage: Lineage, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidName, match="an int is not a"):
        modelkeep.init(**({"project": "vision"} | given))
    assert lineage.runs == {}


@pytest.mark.parametrize("what", ["name", "group", "notes"])
def test_words_that_are_no_text(run: modelkeep.Run, what: str) -> None:
    for wrong, says in ((5, f"the {what} is an int; expected text"), ("\ud800", "UTF-8")):
        with pytest.raises(InvalidArgument, match=says):
            modelkeep.init("vision", **{what: wrong})  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match=says):
            setattr(run, what, wrong)


def edit(**what: Any) -> Callable[[modelkeep.Run], object]:
    return lambda run: modelkeep.Api().run(run.resource_name).edit(**what)


@pytest.mark.parametrize(
    ("do", "error", "says"),
    [
        (lambda _: modelkeep.init("vision", tags=5), InvalidArgument, "an int is given for several texts"),
        (lambda _: modelkeep.init("vision", tags=[5]), InvalidTag, "an int is not a tag"),
        (lambda _: modelkeep.init("vision", config={"x": HUGE}), InvalidArgument, "config.x is an integer of 16,610 bits"),
        (
            lambda _: modelkeep.init("vision", config={"x": {1: "a", "1": "b"}}),
            InvalidArgument,
            r"config\.x\.1 is there twice: its keys are an int and a str",
        ),
        (lambda _: modelkeep.init("vision", config={None: 1, "None": 2}), InvalidArgument, r"config\.None is there twice"),
        (lambda run: run.summary.update(x=[{1.5: 1, "1.5": 2}]), InvalidArgument, r"summary\.x\[0\]\.1\.5 is there twice"),
        (edit(config={True: 1, "True": 2}), InvalidArgument, r"config\.True is there twice"),
        (lambda run: run.define_metric(5), InvalidArgument, "the key of a metric is an int"),
        (lambda run: run.add_tags(5), InvalidTag, "an int is not a tag"),
        (lambda run: run.log({"x": 1}, step=HUGE), InvalidArgument, "the step has 16,610 bits"),
        (lambda run: run.summary.update(x=[HUGE]), InvalidArgument, r"summary.x\[0\] is an integer"),
        (edit(config=5), InvalidArgument, "the config is an int; expected a mapping"),
        (edit(name=5), InvalidArgument, "the display_name is an int"),
        (lambda _: modelkeep.Api().run(5), InvalidArgument, "the run is an int; expected text"),
        (lambda _: modelkeep.Api().best_run(5), InvalidArgument, "the metric is an int; expected text"),
        (lambda _: modelkeep.Api().best_run("acc", goal=5), InvalidArgument, "an int is no goal"),
        (lambda _: modelkeep.Api().lineage(5), InvalidArgument, "an int has no place in the graph; expected a version, a run"),
        (lambda _: modelkeep.Api().lineage(NODE, direction=None), InvalidArgument, "a NoneType is no direction"),
        (lambda _: modelkeep.Api().lineage(NODE, depth=1.5), InvalidArgument, "depth is a float; it is a whole number"),
        (lambda _: modelkeep.Api().lineage(NODE, max_nodes=None), InvalidArgument, "max_nodes is a NoneType"),
        (lambda _: modelkeep.Api().lineage(NODE, kind=["run"]), InvalidArgument, "a list is no kind of node"),
        (lambda _: modelkeep.Api().lineage(NODE, types=None), InvalidArgument, "a NoneType is given for several texts"),
        (lambda _: modelkeep.Api().lineage(NODE, types=[5]), InvalidArgument, "an int; expected text"),
        (lambda _: modelkeep.Api().lineage(NODE, projects=[5]), InvalidArgument, "an int; expected text"),
        (
            lambda _: modelkeep.Api().impact(NODE, as_of=date(2026, 3, 1)),
            InvalidArgument,
            "a date is no time; expected a datetime",
        ),
        (lambda _: modelkeep.Api().neighbors(NODE, ["up"]), InvalidArgument, "a list is no direction"),
        (lambda _: condition((5, "max")), InvalidArgument, r"only_if_better is \(5, 'max'\)"),
        (lambda _: condition(5), InvalidArgument, "only_if_better is 5"),
    ],
)
def test_what_is_of_another_type(run: modelkeep.Run, do: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        do(run)


EMPTY = modelkeep.Artifact("m", "model")


@pytest.mark.parametrize(
    ("do", "error", "says"),
    [
        *(
            (
                lambda _, wrong=wrong: modelkeep.Artifact("m", "model", metadata=wrong),
                InvalidMetadata,
                f"the metadata is {shown}; .* mapping",
            )
            for wrong, shown in ((5, "an int"), ("x", "'x'"), ([], "a list"))
        ),
        (
            lambda _: modelkeep.Artifact("m", "model", description=5),
            InvalidArgument,
            "the description is an int; expected text",
        ),
        (lambda _: modelkeep.Artifact("m", "model", notes=b"x"), InvalidArgument, "the notes is a bytes; expected text"),
        (lambda _: EMPTY.add_file(None), InvalidArgument, "the path is a NoneType; expected the path"),
        (lambda _: EMPTY.add_file("a\0b"), InvalidArgument, "expected the path of a file or folder"),
        (lambda _: EMPTY.add_dir(b"folder"), InvalidArgument, "the path is a bytes; expected the path"),
        (lambda _: EMPTY.add_file(__file__, name=5), InvalidPath, "the path of an entry is an int; expected text"),
        (lambda _: EMPTY.add_dir(Path(__file__).parent, name=b"a"), InvalidPath, "the path of an entry is a bytes"),
        (lambda run: run.log_artifact(None), InvalidArgument, "the artifact is a NoneType; expected an Artifact, or the path"),
        (lambda run: run.log_artifact(5, "m", "model"), InvalidArgument, "the artifact is an int; expected an Artifact"),
        (
            lambda run: run.upsert_artifact(5, distributed_id="d"),
            InvalidArgument,
            "the artifact is an int; expected a modelkeep",
        ),
        (lambda _: modelkeep.Api().log_artifact(None), InvalidArgument, "the artifact is a NoneType; expected a modelkeep"),
        (lambda run: run.use_artifact(5), InvalidAddress, "the address is an int; expected text"),
        (lambda _: modelkeep.Api().artifact(None), InvalidAddress, "the address is a NoneType; expected text"),
        (lambda _: modelkeep.Api().draft(5), InvalidArgument, "the address is an int; expected text"),
        (lambda _: modelkeep.Api().search(5), InvalidArgument, "the filter is an int; expected text"),
    ],
)
def test_an_artifact_or_an_address_of_another_type(run: modelkeep.Run, do: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        do(run)
    assert len(EMPTY) == 0


def test_metadata_may_be_any_mapping(run: modelkeep.Run) -> None:
    run.config["lr"] = 0.1
    assert modelkeep.Artifact("m", "model", metadata=run.config).metadata == {"lr": 0.1}


@pytest.mark.parametrize("where", ["summary", "config"])
def test_a_value_that_is_too_deep_or_in_itself(run: modelkeep.Run, where: str) -> None:
    inside: dict[str, Any] = {}
    inside["inside"] = inside
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"x": deep}
    values = getattr(run, where)
    values["a"] = 1
    for wrong in (inside, deep):
        with pytest.raises(InvalidArgument, match=f"more than {MAX_DEPTH} levels deep"):
            values["a"] = wrong
    assert values == {"a": 1}


def test_keys_and_objects_of_any_kind_become_text(lineage: Lineage) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    with modelkeep.init("vision", config={"\ud800": 1, "broken": Broken(), "nested": {5: 1}}) as run:
        run.summary[5] = 1
        run.config[6] = 1
    (told,) = lineage.runs.values()
    name = Broken.__qualname__
    assert json.loads(told.config_json) == {"?": 1, "broken": f"<{name}>", "nested": {"5": 1}, "6": 1}
    assert json.loads(told.summary_json) == {"5": 1}
