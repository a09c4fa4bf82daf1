"""What is asked of the graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from modelkeep.names import ProjectName, RunName, VersionName

from modelkeep_server.lineage.domain.graph import GROUP_FROM, Direction, NodeFilter

GraphName = RunName | VersionName
"""What a node is called."""


def project_of(name: GraphName) -> ProjectName:
    """The project of a run or a version."""
    return ProjectName(name.team, name.project)


@dataclass(frozen=True, slots=True)
class LineageAsk:
    """A walk from a run or a version."""

    name: GraphName
    directions: tuple[Direction, ...] = (Direction.UPSTREAM, Direction.DOWNSTREAM)
    max_depth: int = 0
    """0 means as far as there is anything."""
    filter: NodeFilter = field(default_factory=NodeFilter)
    as_of: datetime | None = None
    group_from: int = GROUP_FROM
    """0 means that nothing is told as a group."""
    max_nodes: int = 0
    """0 means as many as the server allows."""
    continuation: str = ""

    def query(self) -> tuple[object, ...]:
        """What a continuation is bound to."""
        return ("lineage", self.name, self.directions, self.max_depth, *self.filter.query(), self.as_of, self.group_from)


@dataclass(frozen=True, slots=True)
class PathsAsk:
    """All ways from one node to another."""

    source: GraphName
    target: GraphName
    as_of: datetime | None = None
    max_nodes: int = 0
    continuation: str = ""

    def query(self) -> tuple[object, ...]:
        """What a continuation is bound to."""
        return ("paths", self.source, self.target, self.as_of)


@dataclass(frozen=True, slots=True)
class NeighborsAsk:
    """What is beside a run or a version."""

    name: GraphName
    direction: Direction
    types: frozenset[str] = frozenset()
    """Only those of these types; empty means all."""
    as_of: datetime | None = None

    def query(self) -> tuple[object, ...]:
        """What the token of a page is bound to."""
        return ("neighbors", self.name, self.direction, sorted(self.types), self.as_of)


@dataclass(frozen=True, slots=True)
class CommonAsk:
    """What two nodes both come from."""

    first: GraphName
    second: GraphName
    filter: NodeFilter = field(default_factory=NodeFilter)
    as_of: datetime | None = None

    def query(self) -> tuple[object, ...]:
        """What the token of a page is bound to."""
        return ("common ancestors", self.first, self.second, *self.filter.query(), self.as_of)
