"""Rules of aliases and conditions of commits on the wire."""

from __future__ import annotations

import re
from typing import Final

from modelkeep.api.metadata.v1 import rule_pb2 as pb
from modelkeep.errors import InvalidArgument
from modelkeep.names import AliasName, parse_words

from modelkeep_server.filtering.complaint import FilterError, complain
from modelkeep_server.filtering.syntax import read_path
from modelkeep_server.metadata.domain.rule import AliasRule, Comparison, Goal, Rule, Yardstick
from modelkeep_server.runtime.moments import to_timestamp

MAX_EXPRESSION: Final = 512
"""Most bytes of a rule or of a key: a rule is the reason of a line in the history of its alias."""
_GOALS: Final = {pb.GOAL_MAX: Goal.MAX, pb.GOAL_MIN: Goal.MIN}
_TO_PB: Final = {goal: value for value, goal in _GOALS.items()}
_EXPRESSION: Final = re.compile(r"(\s*arg(max|min)\s*\()(.*)\)\s*", re.DOTALL)
_METADATA: Final = "metadata."


def rule_from_pb(alias: str, expression: str) -> tuple[AliasName, Rule]:
    """Which alias a rule is to keep, and how. Raises InvalidName, InvalidAlias, InvalidFilter, LimitExceeded."""
    name = AliasName.parse(alias)
    parse_words(expression, "expression", MAX_EXPRESSION)
    try:
        return name, Rule(name.alias, _measured(expression))
    except FilterError as error:
        raise complain(error, expression, "expression") from None


def yardstick_from_pb(condition: pb.OnlyIfBetter) -> Yardstick:
    """By what a commit is to be better. Raises InvalidArgument, InvalidFilter, LimitExceeded."""
    goal = _GOALS.get(condition.goal)
    if goal is None:
        raise InvalidArgument("only_if_better has no goal; say whether max or min is better", field="only_if_better.goal")
    parse_words(condition.key, "only_if_better.key", MAX_EXPRESSION)
    try:
        return _yardstick(_METADATA + condition.key, goal, -len(_METADATA))
    except FilterError as error:
        raise complain(error, condition.key, "only_if_better.key") from None


def rule_to_pb(rule: AliasRule) -> pb.AliasRule:
    """A rule."""
    return pb.AliasRule(
        alias=str(rule.name),
        expression=rule.expression,
        version=str(rule.version or ""),
        create_time=to_timestamp(rule.create_time),
        creator=rule.creator,
    )


def comparison_to_pb(comparison: Comparison | None) -> pb.Comparison | None:
    """What a commit compared."""
    if comparison is None:
        return None
    return pb.Comparison(
        key=comparison.key,
        goal=_TO_PB[comparison.goal],
        value=comparison.value,
        best_value=comparison.best_value,
        best_version=str(comparison.best_version or ""),
        is_better=comparison.is_better,
    )


def _measured(expression: str) -> Yardstick:
    """Reads `argmax(metadata.KEY)`. Raises FilterError."""
    found = _EXPRESSION.fullmatch(expression)
    if not found:
        raise FilterError("a rule is argmax(metadata.KEY) or argmin(metadata.KEY)", 0)
    return _yardstick(found[3], Goal(found[2]), len(found[1]))


def _yardstick(text: str, goal: Goal, offset: int) -> Yardstick:
    """Reads `metadata.KEY`, which stands at `offset` in what people wrote. Raises FilterError."""
    try:
        path = read_path(text)
    except FilterError as error:
        raise FilterError(error.message, max(0, error.position + offset), **error.metadata) from None
    if path.field != _METADATA[:-1] or not path.keys:
        message = f"only a number in the metadata can be compared, such as metadata.acc, not {path.written}"
        raise FilterError(message, max(0, path.position + offset), field_name=path.field[:100])
    return Yardstick(path.written[len(_METADATA) :], path.keys, goal)
