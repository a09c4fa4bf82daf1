"""What a run tells at once: points of metrics, how they are summed up, values of the summary, and of the config."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelkeep.api.lineage.v1 import run_pb2


SERIES_BYTES: Final = 24
POINT_BYTES: Final = 32
"""The most that one takes in a message."""
LARGEST_POINT_BYTES: Final = 4 * 256 + SERIES_BYTES + POINT_BYTES
"""The most that one takes there with its key."""


class Points(NamedTuple):
    """What one `log` was given."""

    time_micros: int
    step: int
    values: dict[str, float]


class Definition(NamedTuple):
    """How a metric is summed up."""

    key: str
    rule: run_pb2.MetricSummary


class Set(NamedTuple):
    """A value of the summary or of the config that was set."""

    key: str
    json: bytes
    """An object that has only this key. It is null in a summary, and `is_gone` in a config, where it was taken away."""
    is_config: bool = False
    is_gone: bool = False


Item = Points | Definition | Set


class Packed(NamedTuple):
    """Points as they wait: a fraction of their size, since there may be a million."""

    keys: tuple[str, ...]
    """The same object for all calls with the same keys."""
    numbers: bytes
    key_bytes: int
    """What the keys take, where they are the first of their kind."""


Waiting = Packed | Definition | Set
CALL_BYTES: Final = 160
"""What one takes besides what is in it."""


def pack(points: Points, shapes: dict[tuple[str, ...], tuple[str, ...]]) -> Packed:
    """Make it small; `shapes` remembers the keys."""
    keys = tuple(points.values)
    known = shapes.get(keys)
    key_bytes = 0
    if known is None:
        known = shapes[keys] = keys
        key_bytes = sum(64 + len(key) for key in keys)
    numbers = struct.pack(f"<qq{len(keys)}d", points.time_micros, points.step, *points.values.values())
    return Packed(known, numbers, key_bytes)


def unpack(item: Waiting) -> Item:
    """What was put in."""
    if not isinstance(item, Packed):
        return item
    time_micros, step, *values = struct.unpack(f"<qq{len(item.keys)}d", item.numbers)
    return Points(time_micros, step, dict(zip(item.keys, values, strict=True)))


def weight(item: Waiting) -> int:
    """About how many bytes of memory it takes while it waits."""
    match item:
        case Packed(keys, _, key_bytes):
            return CALL_BYTES - 8 + 8 * len(keys) + key_bytes
        case Set(key, text):
            return CALL_BYTES + len(key) + len(text)
    return CALL_BYTES + len(item.key)


@dataclass(frozen=True)
class Limits:
    """How much may be told at once."""

    max_points: int = 5_000
    max_message_bytes: int = 1 << 20
    max_json_bytes: int = 1 << 20
    """Of a config, and of a summary; what a server takes unless its settings say otherwise."""


@dataclass
class Series:
    """Points of one metric, in the order in which they came."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times_micros: list[int] = field(default_factory=list)


@dataclass
class Batch:
    """Items that are told together. All that a server needs is the same for each try."""

    replaces: Callable[[str], bool] = lambda _: True
    """Whether a point of a metric takes the place of a value of the summary that was set before."""
    series: dict[str, Series] = field(default_factory=dict)
    definitions: dict[str, run_pb2.MetricSummary] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    config_gone: set[str] = field(default_factory=set)
    point_count: int = 0
    key_bytes: int = 0
    json_bytes: int = 0
    weight: int = 0
    """What its items took while they waited."""
    request_id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def has_metrics(self) -> bool:
        """Whether there is anything in it but config."""
        return bool(self.series or self.definitions or self.summary)

    def parts(self) -> Iterator[Batch]:
        """The same, in one for each request: what is refused takes nothing else with it, and no request is half done."""
        if self.series or self.definitions:
            yield Batch(series=self.series, definitions=self.definitions)
        if self.summary:
            yield Batch(summary=self.summary)  # after the points: they left in it only what counts more
        if self.config or self.config_gone:
            yield Batch(config=self.config, config_gone=self.config_gone)

    def has_room(self, item: Item, limits: Limits) -> bool:
        """Whether an item may be told with what is there; one alone always may."""
        if isinstance(item, Set):
            return not self.json_bytes or self.json_bytes + len(item.json) <= limits.max_json_bytes
        if not self.series and not self.definitions:
            return True
        keys = item.values.keys() if isinstance(item, Points) else {item.key}
        points = self.point_count + (len(keys) if isinstance(item, Points) else 0)
        new_bytes = sum(4 * len(key) for key in keys if key not in self.series)
        names = len(self.series) + len(self.definitions) + len(keys)
        size = self.key_bytes + new_bytes + SERIES_BYTES * names + POINT_BYTES * points
        return points <= limits.max_points and size <= limits.max_message_bytes // 2

    def add(self, item: Item) -> None:
        """Take an item."""
        match item:
            case Points(time_micros, step, values):
                for key, value in values.items():
                    series = self.series.get(key)
                    if series is None:
                        series = self.series[key] = Series()
                        self.key_bytes += len(key.encode())
                    series.steps.append(step)
                    series.values.append(value)
                    series.times_micros.append(time_micros)
                    if self.summary and self.replaces(key):
                        self.summary.pop(key, None)
                self.point_count += len(values)
            case Definition(key, rule):
                self.definitions[key] = rule
                self.key_bytes += len(key.encode())
            case Set(_, text, is_config=False):
                self.summary.update(json.loads(text))
                self.json_bytes += len(text)
            case Set(key, text, is_gone=is_gone):
                self.json_bytes += len(text)
                if is_gone:
                    self.config.pop(key, None)
                    self.config_gone.add(key)
                else:
                    self.config.update(json.loads(text))
                    self.config_gone.discard(key)
