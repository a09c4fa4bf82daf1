"""What the graph needs: to be read, to be written from events, and the events."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from modelkeep.names import ProjectName, RunName, VersionName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.lineage.domain.graph import Direction, Edge, Fan, Label, Node
from modelkeep_server.lineage.domain.graph_event import GraphEvent
from modelkeep_server.lineage.domain.graph_walk import Found, Step


@dataclass(frozen=True, slots=True)
class Beside:
    """Which neighbours of a node are listed."""

    node_id: int
    direction: Direction
    as_of: int
    labels: Sequence[int] | None = None
    """Only those of these labels; None means all."""


class Steps(Protocol):
    """What a walk needs."""

    async def step(self, step: Step) -> Found:
        """The neighbours of some nodes."""
        ...


class GraphReads(Steps, Protocol):
    """The graph, as it is read. Each call is a statement or two, whatever the size of the answer."""

    async def find(self, name: RunName | VersionName) -> Node | None:
        """The node of a run or a version, by its present name."""
        ...

    async def latest(self) -> int:
        """The time of the newest event that was read, in microseconds by the clock of metadata."""
        ...

    async def nodes(self, ids: Collection[int]) -> Mapping[int, Node]:
        """Nodes by their ids."""
        ...

    async def labels(self, ids: Collection[int]) -> Mapping[int, Label]:
        """Labels by their ids."""
        ...

    async def edges(self, ends: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], Edge]:
        """Edges by source and target."""
        ...

    async def created(self, ids: Collection[int], since: datetime | None, until: datetime | None) -> set[int]:
        """Those of the nodes that came into being from `since` on and before `until`."""
        ...

    async def degrees(self, fans: Collection[Fan]) -> Mapping[Fan, int]:
        """How many nodes fans have now."""
        ...

    async def counts(self, fans: Collection[Fan], as_of: int, most: int) -> Mapping[Fan, int]:
        """How many nodes fans had at a time; `most` where there were more."""
        ...

    async def fans(self, node_id: int, direction: Direction, types: Collection[str]) -> Sequence[Label]:
        """The labels of the neighbours of a node that have one of these types."""
        ...

    async def beside(self, which: Beside, page: Page, *query: object) -> Listing[tuple[Node, Edge]]:
        """Neighbours of a node, newest first. `query` binds the token of the page."""
        ...

    async def aliases(self, labels: Collection[int], most: int) -> Sequence[tuple[int, int, str]]:
        """At most so many aliases of collections, as label, node and alias."""
        ...

    async def cursors(self, projects: Collection[ProjectName]) -> Mapping[ProjectName, int]:
        """How far the logs of projects were read."""
        ...


class GraphLog(Protocol):
    """The graph, as it is written: by one process at a time."""

    async def own(self, holder: str) -> int | None:
        """Take the ownership, or keep it; its epoch, or None while another process has it."""
        ...

    async def release(self, holder: str) -> None:
        """Give the ownership up, if one has it."""
        ...

    async def apply(self, epoch: int, project: ProjectName, after: int, events: Sequence[GraphEvent]) -> bool:
        """Bring the graph from the event `after` of a project to the last of `events`, all or nothing.

        False when the log was read from there already, so that nothing counts twice. Raises OwnerChanged.
        """
        ...

    async def settle(self, epoch: int) -> bool:
        """Let some edges say the present labels of their nodes; false when all do. Raises OwnerChanged, if any do not."""
        ...

    async def set_back(self, epoch: int, project: ProjectName, sequence: int) -> None:
        """Read the log of a project, which was read up to `sequence`, again from its beginning. Raises OwnerChanged."""
        ...

    async def cursors(self) -> Mapping[ProjectName, int]:
        """How far the logs of all projects were read."""
        ...


class OwnerChanged(Exception):
    """Another process owns the graph by now."""


class EventLogs(Protocol):
    """The event logs of metadata."""

    async def heads(self, token: str = "") -> tuple[Mapping[ProjectName, int], str]:
        """How far the logs go: a page of them, and the token of the next."""
        ...

    async def head(self, project: ProjectName) -> int:
        """How far the log of one project goes; 0 when there is none."""
        ...

    async def events(self, project: ProjectName, after: int, size: int) -> Sequence[GraphEvent]:
        """At most so many events after one, oldest first."""
        ...
