"""How a run is named, and what is refused before any server is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import modelkeep
import pytest
from modelkeep._lineage import node_filter, timestamp
from modelkeep._node import parse_direction
from modelkeep._recorded_run import parse_run
from modelkeep.errors import InvalidAddress, InvalidArgument, InvalidName, LimitExceeded
from modelkeep.names import ProjectName

from tests.unit.sdk.lineage import Lineage

HERE = ProjectName("t", "p")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("r1", "teams/t/projects/p/runs/r1"),
        ("vision/r1", "teams/t/projects/vision/runs/r1"),
        ("other/vision/r1", "teams/other/projects/vision/runs/r1"),
        ("teams/other/projects/vision/runs/r1", "teams/other/projects/vision/runs/r1"),
    ],
)
def test_a_run_is_named_as_far_as_it_must_be(text: str, name: str) -> None:
    assert str(parse_run(text, HERE)) == name


@pytest.mark.parametrize("text", ["", "a b", "/r1", "vision/", "a/b/c/d", "teams/t/projects/p/versions/r1", "x" * 129, "r\n"])
def test_what_is_no_name_of_a_run(text: str) -> None:
    with pytest.raises(InvalidName):
        parse_run(text, HERE)


def test_times_of_a_question() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for moment in (noon, noon.astimezone(timezone(timedelta(hours=5))), "2026-03-01T12:00:00Z"):
        made = timestamp(moment)
        assert made is not None
        assert made.ToDatetime(UTC) == noon
    assert timestamp(None) is None
    day = timestamp("2026-03-01")
    assert day is not None
    assert day.ToDatetime(UTC) == datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC)
    with pytest.raises(InvalidArgument, match="no time zone"):
        timestamp(datetime(2026, 3, 1))  # noqa: DTZ001 - that is the fault
    with pytest.raises(InvalidAddress):
        timestamp("last week")


def test_which_nodes_are_chosen() -> None:
    chosen = node_filter("t", types="model", kind="version", projects=["vision", "other/lab"], since="2026-03-01")
    assert list(chosen.types) == ["model"]
    assert list(chosen.projects) == ["teams/t/projects/vision", "teams/other/projects/lab"]
    assert (chosen.HasField("since_time"), chosen.HasField("until_time")) == (True, False)
    # A day is in what is chosen since it, and until it.
    day = node_filter("t", since="2026-03-01", until="2026-03-01")
    assert day.since_time.ToDatetime(UTC) == datetime(2026, 3, 1, tzinfo=UTC)
    assert day.until_time.ToDatetime(UTC) == datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC)
    exactly = node_filter("t", since="2026-03-01T12:00:00Z").since_time
    assert exactly.ToDatetime(UTC) == datetime(2026, 3, 1, 12, tzinfo=UTC)
    for wrong in ({"kind": "thing"}, {"projects": ["a b"]}, {"projects": ["a/b/c"]}):
        with pytest.raises(InvalidArgument):
            node_filter("t", **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="'up'"):
        parse_direction("sideways")


@pytest.fixture
def recorded(lineage: Lineage) -> modelkeep.RecordedRun:
    """A run that is over."""
    with modelkeep.init("vision", id="r1", capture="none"):
        pass
    return modelkeep.Api().run("vision/r1")


def test_a_config_that_is_edited_keeps_no_secret(recorded: modelkeep.RecordedRun, lineage: Lineage) -> None:
    edited = recorded.edit(
        config={"lr": 0.1, "api_key": "hunter2canary", "db": {"password": "hunter2canary"}, "note": "mk_key"}
    )
    assert edited.config == {"lr": 0.1, "api_key": "***", "db": {"password": "***"}, "note": "***"}
    assert "hunter2canary" not in lineage.runs[recorded.resource_name].config_json


def test_a_config_that_is_edited_is_small(recorded: modelkeep.RecordedRun) -> None:
    with pytest.raises(LimitExceeded, match="the config has 10,") as raised:
        recorded.edit(config={"x": "a b " * 2_500_000})
    assert raised.value.metadata["field"] == "config"
