"""The graph: runs and versions, the edges between them, and the labels by which neighbours are grouped (SEM-52, 55)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, IntEnum
from typing import Final

from modelkeep.names import CollectionName, ProjectName, RunName

GROUP_FROM: Final = 5
"""From how many neighbours of one label they are told as a group, unless asked otherwise (SEM-55)."""
MAX_GROUP_FROM: Final = 1000
"""More than that means that."""

COPY: Final = "copy"
"""The job type of what stands between a version and its copy."""


class NodeKind(IntEnum):
    """What a node is; between two of one kind there is always one of the other (SEM-52)."""

    RUN = 1
    VERSION = 2


class Direction(Enum):
    """Which way to go along an edge."""

    UPSTREAM = "upstream"
    """To what it was made from."""
    DOWNSTREAM = "downstream"
    """To what was made from it."""


class EdgeKind(IntEnum):
    """What an edge says."""

    USED = 1
    PRODUCED = 2


@dataclass(frozen=True, slots=True)
class Label:
    """What nodes have in common that are told as a group: a collection, or a project and a job type."""

    id: int
    kind: NodeKind
    team: str
    """Empty where nothing is known yet but that it exists: a copy was read before its origin."""
    project: str
    collection: str
    """Of versions; empty for runs."""
    type: str
    """The type of the collection, or the job type."""

    @property
    def project_name(self) -> str:
        """The resource name of the project."""
        return str(ProjectName(self.team, self.project))

    @property
    def collection_name(self) -> str:
        """The resource name of the collection; empty for runs."""
        return str(CollectionName(self.team, self.project, self.collection)) if self.kind is NodeKind.VERSION else ""


@dataclass(frozen=True, slots=True)
class Node:
    """A run or a version."""

    id: int
    label: Label
    number: int
    """Of a version."""
    run_id: str
    """Of a run; empty for a copy, which stands for a run that nobody began."""
    display_name: str
    """Of a run."""
    version_uid: str
    digest: str
    create_time: datetime | None
    """None where only its being there is known yet."""
    delete_time: datetime | None
    external: bool
    """Lineage knows the run only from what it used and produced."""

    @property
    def name(self) -> str:
        """The resource name, as it is now."""
        label = self.label
        if label.kind is NodeKind.VERSION:
            return str(CollectionName(label.team, label.project, label.collection).version(self.number))
        return str(RunName(label.team, label.project, self.run_id)) if self.run_id else ""

    @property
    def shown_name(self) -> str:
        """What people call it."""
        if self.label.kind is NodeKind.VERSION:
            return f"{self.label.collection}:v{self.number}"
        return self.display_name or self.run_id or COPY


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge, along which content flows."""

    source_id: int
    target_id: int
    kind: EdgeKind
    time: datetime
    alias_text: str
    deduplicated: bool
    source_label_id: int
    target_label_id: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A node, as it is shown to one caller."""

    node: Node
    depth: int
    is_hidden: bool
    """It is of a team that the caller may not read: nothing else is told of it (SEM-54)."""


@dataclass(frozen=True, slots=True)
class Link:
    """A node beside another one, and the edge between them."""

    node: Shown
    edge: Edge


@dataclass(frozen=True, slots=True)
class Fan:
    """The neighbours of one node, on one side, that have one label."""

    node_id: int
    direction: Direction
    label_id: int


@dataclass(frozen=True, slots=True)
class Group:
    """A fan that is told as one (SEM-55)."""

    fan: Fan
    label: Label
    node_count: int
    depth: int
    is_hidden: bool
    token: str
    """Asks for its nodes; empty where they are not beside one node."""


@dataclass(frozen=True, slots=True)
class Truncation:
    """A traversal stopped before its end (SEM-53)."""

    reason: str
    continuation: str
    """Empty where going on is not possible."""


@dataclass(slots=True)
class Part:
    """A part of the answer of a traversal."""

    nodes: list[Shown] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    truncation: Truncation | None = None
    is_lagging: bool = False


@dataclass(frozen=True, slots=True)
class Impact:
    """What was made from something."""

    counts: Counter[NodeKind]
    groups: tuple[Group, ...]
    aliases: tuple[str, ...]
    alias_count: int
    truncation: Truncation | None
    is_lagging: bool


@dataclass(frozen=True, slots=True)
class NodeFilter:
    """Which nodes a walk shows. It goes through all of them, shown or not."""

    types: frozenset[str] = frozenset()
    kind: NodeKind | None = None
    projects: frozenset[ProjectName] = frozenset()
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_timed(self) -> bool:
        """Whether it looks at when a node came into being."""
        return self.since is not None or self.until is not None

    @property
    def tells_of_nodes(self) -> bool:
        """Whether who passes it tells something that is not told of hidden nodes (SEM-54)."""
        return bool(self.types or self.projects) or self.is_timed

    def query(self) -> tuple[object, ...]:
        """What tells it from others."""
        return (sorted(self.types), self.kind, sorted(map(str, self.projects)), self.since, self.until)

    def passes(self, label: Label) -> bool:
        """Whether nodes of a label are shown, their times apart."""
        return (
            (self.kind is None or label.kind is self.kind)
            and (not self.types or label.type in self.types)
            and (not self.projects or (bool(label.team) and ProjectName(label.team, label.project) in self.projects))
        )
