"""Commits that are to be better than the best version: what is compared, and with which one."""

from __future__ import annotations

from modelkeep.errors import InvalidMetadata
from modelkeep.names import CollectionName

from modelkeep_server.filtering.keys import MAX_VALUES, number_at, written_at
from modelkeep_server.metadata.domain.draft import Commit
from modelkeep_server.metadata.domain.rule import Comparison, Yardstick
from modelkeep_server.metadata.ports.transactions import Work


def require_number(commit: Commit) -> None:
    """Raise InvalidMetadata when a commit is to be better, and has no number by which that could be seen."""
    if commit.only_if_better is not None:
        _number(commit, commit.only_if_better)


async def compare(work: Work, collection: CollectionName, commit: Commit) -> Comparison | None:
    """Compare a commit with the best live version of a locked collection; None when it need not be better.

    Versions without a number do not count. At most two statements.
    """
    yardstick = commit.only_if_better
    if yardstick is None:
        return None
    value = _number(commit, yardstick)
    name = (await work.rules.best(collection, {"": yardstick})).get("")
    if name is None:
        return Comparison(yardstick.key, yardstick.goal, _double(value), None, None, is_better=True)
    best = number_at((await work.versions.get(name)).metadata_json, yardstick.keys)
    if best is None:
        raise AssertionError
    is_better = yardstick.prefers(value, best)
    return Comparison(yardstick.key, yardstick.goal, _double(value), _double(best), name, is_better)


def _number(commit: Commit, yardstick: Yardstick) -> float:
    number = number_at(commit.metadata_json, yardstick.keys)
    if number is None:
        message = f"only_if_better compares metadata.{yardstick.key}, and "
        if written_at(commit.metadata_json, yardstick.keys) is None:
            message += "the new metadata has no number there (NaN is none); put one in, or log without the condition"
        else:
            message += f"that comes after the first {MAX_VALUES:,} values of the new metadata, which are compared; "
            message += "put it nearer to the top, or the long lists deeper"
        raise InvalidMetadata(message, field=f"metadata.{yardstick.key}")
    return number


def _double(number: float) -> float:
    """A number as the wire has it. Comparing is done with whole numbers of any size."""
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
