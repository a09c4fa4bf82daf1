"""Commits that are to be better than the best version: decided under the lock, told in the answer, the same when repeated."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modelkeep.errors import (
    DraftCommitted,
    InvalidMetadata,
)
from modelkeep_server.database.paging import Page
from modelkeep_server.filtering.keys import MAX_VALUES, key_of
from modelkeep_server.metadata.domain.draft import DraftState
from modelkeep_server.metadata.domain.rule import Comparison, Goal
from modelkeep_server.metadata.domain.version import VersionState

from tests.unit.metadata.best import ACC, LOSS, delete, logged, only_if_better, pointed
from tests.unit.metadata.rig import CALLER, DIGITS, Rig, call


async def test_what_is_not_better_makes_nothing(rig: Rig) -> None:
    """SEM-9, SEM-18: no number, no alias, no event; the answer has the best version and says what was compared."""
    first = await only_if_better(rig, acc=0.9)
    assert first.comparison == Comparison("acc", Goal.MAX, 0.9, None, None, is_better=True)
    best = first.version.name
    await logged(rig, {"other": 1})
    before = await rig.events()
    for value in (0.9, 0.1):
        worse = await rig.log(metadata_json=f'{{"acc":{value}}}', only_if_better=ACC, aliases=("mine",), tags=("t",))
        assert (worse.version.name, worse.deduplicated, worse.ignored_fields) == (best, False, ())
        assert worse.comparison == Comparison("acc", Goal.MAX, value, 0.9, best, is_better=False)
    assert await rig.events() == before
    assert await pointed(rig, "mine") is None
    better = await only_if_better(rig, acc=0.91)
    assert better.version.name == DIGITS.version(2)
    assert better.comparison == Comparison("acc", Goal.MAX, 0.91, 0.9, best, is_better=True)


async def test_a_commit_that_was_not_better_is_answered_the_same_again(rig: Rig) -> None:
    """SEM-14: whatever happened meanwhile, also to the name of the collection."""
    (best,) = await logged(rig, {"loss": 1})
    draft = await rig.draft([rig.file("w", b"worse")])
    worse = await rig.commit(draft, metadata_json='{"loss":2}', only_if_better=LOSS)
    await delete(rig, best)
    await rig.collections.rename_collection(call("RenameCollection"), DIGITS, replace(DIGITS, collection="numbers"))
    again = await rig.commit(draft, metadata_json='{"loss":2}', only_if_better=LOSS)
    there = replace(best, collection="numbers")
    assert (again.version.name, again.version.state) == (there, VersionState.DELETED)
    assert worse.comparison is not None
    assert again.comparison == replace(worse.comparison, best_version=there)
    with pytest.raises(DraftCommitted, match="was not better than numbers:v0"):
        await rig.commit(draft, metadata_json='{"loss":2}')
    shown = await rig.drafts.get_draft(CALLER, draft)
    assert (shown.state, shown.version) == (DraftState.COMMITTED, there)


@pytest.mark.parametrize("metadata", [{}, {"acc": "0.9"}, {"acc": None}, {"acc": True}, {"acc": [1]}])
async def test_without_a_number_there_is_nothing_to_compare(rig: Rig, metadata: dict[str, Any]) -> None:
    draft = await rig.draft([rig.file("w", b"1")])
    with pytest.raises(InvalidMetadata, match="acc"):
        await rig.commit(draft, metadata_json=json.dumps(metadata), only_if_better=ACC)
    assert (await rig.commit(draft, metadata_json='{"acc":1}', only_if_better=ACC)).version.name == DIGITS.version(0)


async def test_a_number_behind_the_values_that_are_compared_is_refused_as_such(rig: Rig) -> None:
    """Not as one that is not there."""
    crowded = json.dumps({"classes": list(range(MAX_VALUES)), "eval": {"acc": 0.9}})
    draft = await rig.draft([rig.file("w", b"1")])
    with pytest.raises(InvalidMetadata, match=r"metadata\.eval\.acc, and that comes after the first 1,000 values"):
        await rig.commit(draft, metadata_json=crowded, only_if_better=replace(ACC, key="eval.acc", keys=("eval", "acc")))


async def test_content_that_is_there_is_compared_by_what_was_said_now(rig: Rig) -> None:
    """SEM-11: better, and the version that has the content is the answer, as without the condition; else the best one is."""
    first = await rig.log({"w": b"1"}, metadata_json='{"acc":0.9}')
    again = await rig.log({"w": b"1"}, metadata_json='{"acc":0.9}', only_if_better=ACC)
    assert (again.version.name, again.deduplicated) == (first.version.name, False)
    assert again.comparison
    assert not again.comparison.is_better
    better = await rig.log({"w": b"1"}, metadata_json='{"acc":0.95}', only_if_better=ACC, aliases=("mine",))
    assert (better.version.name, better.deduplicated, better.ignored_fields) == (first.version.name, True, ("metadata_json",))
    assert better.comparison
    assert better.comparison.is_better
    assert better.version.aliases == ("latest", "mine")
    assert json.loads(better.version.metadata_json) == {"acc": 0.9}


async def test_commits_at_once_make_only_what_was_better_when_it_came(rig: Rig) -> None:
    """R6: the numbers of the versions rise, whoever came first."""
    made = await asyncio.gather(*(only_if_better(rig, acc=acc) for acc in (3, 1, 4, 1, 5, 9, 2, 6)))
    versions = (await rig.versions.list_versions(CALLER, DIGITS, Page(100), show_deleted=False)).items
    values = [json.loads(version.metadata_json)["acc"] for version in reversed(versions)]
    assert values == sorted(set(values))
    assert values[-1] == 9
    assert sum(one.comparison is not None and one.comparison.is_better for one in made) == len(values)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)), other=st.integers(-5, 5))
def test_a_yardstick_agrees_with_the_order_of_entries(value: float, other: int) -> None:
    assert ACC.prefers(value, other) == (key_of(value) > key_of(other))
    assert LOSS.prefers(value, other) == (key_of(value) < key_of(other))
