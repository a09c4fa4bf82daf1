"""Runs beside each other: what is the same in all of them, and what differs."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from modelkeep.cli.run_values import flat, placed, plain, shown
from modelkeep.cli.values import short_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from modelkeep import RecordedRun
    from modelkeep._node import Link

USES_COMPARED: Final = 1000
"""So many of the versions that each run used are compared, the newest."""
MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Row:
    """One thing, and what it is in each run."""

    key: str
    values: tuple[Any, ...]
    """`MISSING` where a run has none."""

    @property
    def equal(self) -> bool:
        """Whether all runs agree."""
        first = _comparable(self.values[0])
        return all(_comparable(value) == first for value in self.values[1:])

    def cell(self, index: int) -> str:
        """What it is in one run, for people."""
        texts = ["-" if value is MISSING else shown(value) for value in self.values]
        value = self.values[index]
        if isinstance(value, float) and not self.equal and len(set(texts)) == 1:
            return repr(value)  # they differ where six digits do not show it
        return texts[index]

    def to_json(self) -> dict[str, Any]:
        """The row; null where a run has none."""
        return {
            "key": self.key,
            "values": [None if value is MISSING else plain(value) for value in self.values],
            "equal": self.equal,
        }


def rows(runs: Sequence[RecordedRun], used: Sequence[Iterable[Link]]) -> list[Row]:
    """What can be compared: words, config, summary, code, environment and the versions that were used, in this order."""
    columns = [dict(_facts(run, links, runs[0])) for run, links in zip(runs, used, strict=True)]
    keys = dict.fromkeys(key for column in columns for key in column)
    order = {section: number for number, section in enumerate(_SECTIONS)}
    ordered = sorted(keys, key=lambda key: order.get(key.partition(".")[0], -1))
    return [Row(key, tuple(column.get(key, MISSING) for column in columns)) for key in ordered]


def headings(runs: Sequence[RecordedRun]) -> list[str]:
    """What to call each run: by its name where no other has it, else by where it is and its id."""
    names = Counter(run.name for run in runs)
    is_one_team = len({run.team for run in runs}) == 1
    is_one_project = len({(run.team, run.project) for run in runs}) == 1

    def full(run: RecordedRun) -> str:
        if is_one_project:
            return f"{run.name} {run.id}"
        return f"{run.project}/{run.id}" if is_one_team else f"{run.team}/{run.project}/{run.id}"

    return [run.name if names[run.name] == 1 else full(run) for run in runs]


_SECTIONS: Final = ("config", "summary", "used", "code", "environment", "package")


def _facts(run: RecordedRun, used: Iterable[Link], home: RecordedRun) -> Iterator[tuple[str, Any]]:
    source, environment = run.source, run.environment
    yield from (("state", run.state.lower()), ("job_type", run.job_type), ("group", run.group), ("tags", ", ".join(run.tags)))
    yield from flat(run.config, "config.")
    yield from flat(run.summary, "summary.")
    yield from _used(used, home)
    yield from (("code.commit", source.commit), ("code.branch", source.branch), ("code.is_dirty", source.is_dirty))
    yield from (
        ("code.version", short_version(source.code_version)),
        ("code.script", source.entry_point),
        ("code.arguments", " ".join(source.arguments)),
    )
    yield from (("environment.host", environment.host), ("environment.python", environment.python_version))
    yield "environment.os", environment.operating_system
    for package in environment.packages:
        name, _, version = package.partition("==")
        yield f"package.{name}", version


def _used(links: Iterable[Link], home: RecordedRun) -> Iterator[tuple[str, str]]:
    versions: dict[str, list[str]] = defaultdict(list)
    for link in islice(links, USES_COMPARED):
        collection, _, version = placed(link.node, home).partition(":")
        versions[collection or "(no access)"].append(version or str(link.node.id))
    for collection, names in versions.items():
        yield f"used.{collection}", ", ".join(sorted(names))


def _comparable(value: Any) -> Any:
    """What is equal when people call it so: NaN to NaN and 1 to 1.0, but 1 not to true; also in lists and objects."""
    match value:
        case dict():
            return {key: _comparable(item) for key, item in value.items()}
        case list():
            return [_comparable(item) for item in value]
    is_nan = isinstance(value, float) and math.isnan(value)
    return plain(value), is_nan, isinstance(value, bool)
