"""A collection with a rule against a dictionary, by any line of calls that hypothesis can think of (R5, R6)."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from modelkeep.errors import AliasNotFound, RuleFitsNothing
from modelkeep_server.database.engine import Database
from modelkeep_server.database.paging import Page
from modelkeep_server.metadata.domain.rule import Goal, Rule, Yardstick
from modelkeep_server.metadata.domain.version import Words

from tests.unit.metadata.model import template
from tests.unit.metadata.rig import CALLER, DIGITS, Rig, call

T = TypeVar("T")
BEST = DIGITS.alias("best")
VALUES = st.sampled_from([None, 0, 1, 1, 2, -0.5, 1.0])
GOALS = st.sampled_from(list(Goal))


def yardstick(goal: Goal) -> Yardstick:
    return Yardstick("acc", ("acc",), goal)


class RuleMachine(RuleBasedStateMachine):
    """Each call is made on the service and on the dictionary; then both say where the alias is."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mk-rule-"))
        shutil.copy(template(), self.folder / "metadata.sqlite")
        self.loop = asyncio.Runner()
        self.rig = self.do(self._open())
        self.values: list[float | None] = []
        self.gone: set[int] = set()
        self.goal: Goal | None = None
        self.holder: int | None = None
        self.moves: list[int | None] = []

    async def _open(self) -> Rig:
        return Rig(Database(f"sqlite:///{self.folder / 'metadata.sqlite'}"))

    def teardown(self) -> None:
        self.do(self.rig.database.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def best(self, goal: Goal) -> list[int]:
        """The best live ones; none when none has a number."""
        live = {n: value for n, value in enumerate(self.values) if n not in self.gone and value is not None}
        top = (max if goal is Goal.MAX else min)(live.values(), default=None)
        return [n for n, value in live.items() if value == top]

    def settle(self) -> None:
        if self.goal is not None:
            best = self.best(self.goal)
            self.point(self.holder if self.holder in best else min(best, default=None))

    def point(self, number: int | None) -> None:
        if number != self.holder:
            self.moves.append(number)
        self.holder = number

    @rule(value=VALUES)
    def log(self, value: float | None) -> None:
        self.do(self.rig.log(metadata_json=json.dumps({"acc": value})))
        self.values.append(value)
        self.settle()

    @rule(value=st.integers(-1, 3), goal=GOALS)
    def log_only_if_better(self, value: float, goal: Goal) -> None:
        best = self.best(goal)
        answer = self.do(self.rig.log(metadata_json=json.dumps({"acc": value}), only_if_better=yardstick(goal)))
        assert answer.comparison is not None
        is_better = not best or (value > self.values[best[0]] if goal is Goal.MAX else value < self.values[best[0]])  # type: ignore[operator]
        assert answer.comparison.is_better == is_better
        assert answer.comparison.best_version == (DIGITS.version(best[0]) if best else None)
        assert answer.version.name.number == (len(self.values) if is_better else best[0])
        if is_better:
            self.values.append(value)
            self.settle()

    @precondition(lambda self: self.values)
    @rule(data=st.data(), value=VALUES)
    def edit(self, data: st.DataObject, value: float | None) -> None:
        live = [n for n in range(len(self.values)) if n not in self.gone]
        if live:
            number = data.draw(st.sampled_from(live))
            words = Words(metadata_json=json.dumps({"acc": value}))
            self.do(self.rig.versions.update_version(call("UpdateVersion"), DIGITS.version(number), words, ""))
            self.values[number] = value
            self.settle()

    @precondition(lambda self: self.values)
    @rule(data=st.data())
    def delete_or_restore(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.values) - 1))
        name = DIGITS.version(number)
        if number in self.gone:
            self.do(self.rig.versions.restore_version(call("RestoreVersion"), name))
            self.gone.discard(number)
        else:
            self.do(self.rig.versions.delete_version(call("DeleteVersion"), name, "", delete_aliases=True))
            self.gone.add(number)
            if self.goal is None and self.holder == number:
                self.point(None)
        self.settle()

    @precondition(lambda self: self.values)
    @rule(goal=GOALS)
    def set_rule(self, goal: Goal) -> None:
        wish = self.rig.rules.set_alias_rule(call("SetAliasRule"), BEST, Rule("best", yardstick(goal)))
        if self.holder is not None and not self.best(goal):
            with pytest.raises(RuleFitsNothing):
                self.do(wish)
            return
        self.do(wish)
        self.goal = goal
        self.settle()

    @precondition(lambda self: self.goal is not None)
    @rule()
    def delete_rule(self) -> None:
        self.do(self.rig.rules.delete_alias_rule(call("DeleteAliasRule"), BEST))
        self.goal = None

    @invariant()
    def the_alias_is_where_the_dictionary_says(self) -> None:
        if not self.moves:
            return
        changes = self.do(self.rig.aliases.list_alias_history(CALLER, DIGITS, "best", Page(1000))).items
        told = [change.to_version.number if change.to_version else None for change in reversed(changes)]
        assert told == self.moves
        try:
            version = self.do(self.rig.aliases.get_alias(CALLER, BEST)).version
        except AliasNotFound:
            version = None
        assert (version.number if version else None) == self.holder


def test_a_rule_is_what_the_dictionary_says() -> None:
    run_state_machine_as_test(
        RuleMachine,
        settings=settings(max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)),
    )
