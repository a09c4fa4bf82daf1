"""What the command line says of runs: values by their paths, differences, NaN as JSON can hold it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from modelkeep._metric import Point, decode_values
from modelkeep._node import Edge, Link, Node
from modelkeep._recorded_run import RecordedRun
from modelkeep.api.lineage.v1 import run_pb2
from modelkeep.cli.run_compare import headings, rows
from modelkeep.cli.run_values import (
    LINKS_SHOWN,
    cell,
    flat,
    plain,
    point_json,
    run_details,
    run_json,
    short_summary,
    shown,
    took,
)

RUN = "teams/t/projects/vision/runs/r1"


def recorded(config: Any = None, summary: Any = None, seconds: int = 75, **more: Any) -> RecordedRun:
    message = run_pb2.Run(name=RUN, display_name="train-1", state=run_pb2.RUN_STATE_FINISHED, **more)
    message.config_json, message.summary_json = json.dumps(config or {}), json.dumps(summary or {})
    message.start_time.FromSeconds(1_700_000_000)
    message.end_time.FromSeconds(1_700_000_000 + seconds)
    return RecordedRun.from_pb(message, None)  # type: ignore[arg-type]


def link(name: str, alias_text: str = "", type_: str = "dataset", place: str = "x") -> Link:
    message = run_pb2.Run()
    message.start_time.FromSeconds(0)
    time = recorded().start_time
    node = Node(1, "version", name, f"{place}/{name}", type_, time, None, 1, False, False, "", "", _connection=None)  # type: ignore[arg-type]
    return Link(node, Edge(1, 2, "used", time, alias_text, deduplicated=False))


@pytest.mark.parametrize(
    ("places", "shown"),
    [
        (["t/projects/a/runs/x:one", "t/projects/b/runs/x:two"], ["one", "two"]),
        (["t/projects/a/runs/x:same", "t/projects/a/runs/y:same", "t/projects/a/runs/z:z"], ["same x", "same y", "z"]),
        (["t/projects/a/runs/same:same", "t/projects/b/runs/same:same"], ["a/same", "b/same"]),
        (["t/projects/a/runs/same:same", "u/projects/a/runs/same:same"], ["t/a/same", "u/a/same"]),
    ],
)
def test_each_run_that_is_compared_has_a_heading_of_its_own(places: list[str], shown: list[str]):
    runs = []
    for place in places:
        path, _, name = place.partition(":")
        message = run_pb2.Run(name=f"teams/{path}", display_name=name, config_json="{}", summary_json="{}")
        runs.append(RecordedRun.from_pb(message, None))  # type: ignore[arg-type]
    assert headings(runs) == shown


def test_a_cell_has_the_beginning_of_a_long_text():
    assert cell("ü" * 60) == "ü" * 60
    assert cell("ü" * 61) == "ü" * 59 + "…"


def test_what_json_lacks_is_a_number_in_python_and_a_text_in_json():
    summary = decode_values('{"loss": "NaN", "up": "Infinity", "deep": {"down": ["-Infinity", "word"]}}')
    assert math.isnan(summary["loss"])
    assert (summary["up"], summary["deep"]) == (math.inf, {"down": [-math.inf, "word"]})
    assert plain(summary) == {"loss": "NaN", "up": "Infinity", "deep": {"down": ["-Infinity", "word"]}}
    text = json.dumps(run_json(recorded({"clip": "Infinity"}, {"loss": "NaN"})), allow_nan=False)
    assert (json.loads(text)["config"], json.loads(text)["summary"]) == ({"clip": "Infinity"}, {"loss": "NaN"})


@pytest.mark.parametrize("seconds", [-(2**63) / 1e6, (2**63 - 1) / 1e6, math.nan])
def test_a_point_whose_time_is_none_is_shown(seconds: float):
    assert point_json(Point(3, 0.5, seconds)) == {"step": 3, "value": 0.5, "time": None}
    assert point_json(Point(3, 0.5, 1.5))["time"] == "1970-01-01T00:00:01.500000Z"


def test_values_have_the_paths_that_a_filter_takes():
    found = dict(flat({"lr": 1, "opt": {"name": "adam", "a b": {"c.d": 2}}, "empty": {}, "größe": [1, {"x": 2}]}))
    assert found == {"lr": 1, "opt.name": "adam", 'opt."a b"."c.d"': 2, "empty": {}, "größe": [1, {"x": 2}]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (1e-7, "1e-07"),
        (math.nan, "nan"),
        (True, "true"),
        (None, "null"),
        (3, "3"),
        ("a", "a"),
        ([1.5], "[1.5]"),
    ],
)
def test_values_for_people(value: Any, text: str):
    assert shown(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (75, "1m 15s"), (3661, "1h 1m"), (172_800, "2d 0h"), (400_000, "4d 15h")]
)
def test_how_long_it_took(seconds: int, text: str):
    assert took(recorded(seconds=seconds)) == text


def test_a_table_holds_as_much_of_a_summary_as_fits():
    assert short_summary(recorded(summary={"acc": 0.98765432, "n": 3})) == "acc=0.987654  n=3"
    long = short_summary(recorded(summary={f"metric-{number}": number for number in range(50)}))
    assert len(long) <= 66
    assert long.endswith("…")
    assert len(short_summary(recorded(summary={"text": "x" * 1000}))) <= 66


def test_a_run_shows_what_it_used_and_made_and_says_when_there_is_more():
    run = recorded({"lr": 0.1}, {"acc": 0.9}, source=run_pb2.Source(commit="abc", branch="main", is_dirty=True))
    details = run_details(run, [link("data:v0", "data:latest"), link("old:v1", "old:v1")], [link(f"m:v{n}") for n in range(20)])
    assert details["used"].splitlines() == ["data:v0  (dataset)  as data:latest", "old:v1  (dataset)"]
    made = details["produced"].splitlines()
    assert len(made) == LINKS_SHOWN + 1
    assert made[-1].startswith("… and more")
    assert details["code"] == "abc of main, with changes that no commit had"
    assert json.loads(details["config"]) == {"lr": 0.1}


def test_a_version_of_another_project_is_told_with_it():
    """Else its name would lead to another version, or to none; and versions of two projects would be compared as one."""
    here, there, afar = ("teams/t/projects/vision", "teams/t/projects/data", "teams/u/projects/data")
    used = [link("clean:v0", place=place) for place in (here, there, afar)]
    details = run_details(recorded(), used, used[:1])
    assert details["used"].splitlines() == [f"{name}  (dataset)" for name in ("clean:v0", "data/clean:v0", "u/data/clean:v0")]
    assert details["produced"] == "clean:v0  (dataset)"
    differing = [row.key for row in rows([recorded(), recorded()], [used[:1], used[1:2]]) if not row.equal]
    assert differing == ["used.clean", "used.data/clean"]


def test_runs_beside_each_other():
    one = recorded({"lr": 0.1, "opt": {"name": "adam"}}, {"acc": 0.9, "loss": "NaN"})
    two = recorded({"lr": 1e-3, "opt": {"name": "adam"}, "extra": None}, {"acc": 0.9, "loss": "NaN"}, job_type="tune")
    found = rows([one, two], [[link("data:v1")], [link("data:v2"), link("data:v1")]])
    differing = {row.key: [row.cell(0), row.cell(1)] for row in found if not row.equal}
    assert differing == {
        "job_type": ["", "tune"],
        "config.lr": ["0.1", "0.001"],
        "config.extra": ["-", "null"],
        "used.data": ["v1", "v1, v2"],
    }
    equal = {row.key for row in found if row.equal}
    assert {"state", "config.opt.name", "summary.acc", "summary.loss"} <= equal
    assert [row.key.partition(".")[0] for row in found][-1] == "environment"
    json.dumps([row.to_json() for row in found], allow_nan=False)


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (1, 1.0, True),
        (1, True, False),
        ([1, {"x": 0}], [1.0, {"x": 0.0}], True),
        ([1, 1], [1, True], False),
        ([{"x": 0}], [{"x": False}], False),
        ([[], {}], [[], {}], True),
    ],
)
def test_a_number_is_no_flag_wherever_it_stands(first: Any, second: Any, equal: bool):
    (row,) = (row for row in rows([recorded({"x": first}), recorded({"x": second})], [(), ()]) if row.key == "config.x")
    assert row.equal == equal


def test_packages_are_compared_by_name():
    one = recorded(environment=run_pb2.Environment(packages=["numpy==1.0", "only==2"]))
    two = recorded(environment=run_pb2.Environment(packages=["numpy==2.0"]))
    differing = {row.key: row.values for row in rows([one, two], [[], []]) if not row.equal}
    assert differing["package.numpy"] == ("1.0", "2.0")
    assert set(differing) == {"package.numpy", "package.only"}


def test_what_equals_what():
    one, two = recorded({"a": 1, "b": 1, "c": [1, 2]}), recorded({"a": True, "b": 1.0, "c": [1, 2]})
    assert {row.key for row in rows([one, two], [[], []]) if not row.equal} == {"config.a"}
    close = rows([recorded({"lr": 0.1}), recorded({"lr": 0.1 + 1e-15})], [[], []])
    assert [row.cell(1) for row in close if not row.equal] == ["0.100000000000001"]
