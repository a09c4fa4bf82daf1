"""What a piece of a log changes in the graph, all at once: so that it takes a few statements, however many events it has.

Logs of several projects are read apart, so the same thing may be told twice, or late, or before what it is about. Therefore
nothing here depends on the order in which logs are read: of two names the later one holds, of two uses the earlier one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from modelkeep.names import CollectionName, ProjectName, RunName

from modelkeep_server.lineage.domain.graph import COPY, EdgeKind, NodeKind
from modelkeep_server.lineage.domain.graph_event import (
    AliasSet,
    CollectionSeen,
    Fact,
    GraphEvent,
    RunSeen,
    VersionMade,
    VersionState,
    VersionTaken,
)

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a time that is not known yet: whatever is told comes later."""


@dataclass(frozen=True, slots=True)
class LabelSeen:
    """A label, as a piece of the log tells of it."""

    key: str
    kind: NodeKind
    team: str = ""
    project: str = ""
    collection: str = ""
    type: str = ""
    name_time: datetime = EARLIEST
    type_time: datetime = EARLIEST

    def merged(self, other: LabelSeen) -> LabelSeen:
        """The two in one: of the names and of the types the later ones."""
        merged = self
        if other.name_time >= self.name_time:
            team, project, collection = other.team, other.project, other.collection
            merged = replace(merged, team=team, project=project, collection=collection, name_time=other.name_time)
        if other.type_time >= self.type_time:
            merged = replace(merged, type=other.type, type_time=other.type_time)
        return merged


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node, as a piece of the log tells of it."""

    key: str
    label: str
    """The key of its label."""
    is_guess: bool = False
    """Its label was only guessed from a name; a node that is there already knows better."""
    number: int = 0
    run_id: str = ""
    display_name: str = ""
    digest: str = ""
    create_time: datetime | None = None
    told_time: datetime | None = None
    """When the display name of a run was told."""

    def merged(self, other: NodeSeen) -> NodeSeen:
        """The two in one."""
        better = other if self.is_guess and not other.is_guess else self
        times = [time for time in (self.create_time, other.create_time) if time]
        told = max(self, other, key=lambda node: (node.told_time or EARLIEST, node.display_name))
        return replace(
            better,
            digest=self.digest or other.digest,
            create_time=min(times, default=None),
            display_name=told.display_name,
            told_time=told.told_time,
        )


@dataclass(frozen=True, slots=True)
class EdgeSeen:
    """An edge, as a piece of the log tells of it."""

    kind: EdgeKind
    time: datetime
    alias_text: str = ""
    deduplicated: bool = False


@dataclass(slots=True)
class Delta:
    """What changes."""

    labels: dict[str, LabelSeen] = field(default_factory=dict)
    nodes: dict[str, NodeSeen] = field(default_factory=dict)
    edges: dict[tuple[str, str], EdgeSeen] = field(default_factory=dict)
    """By the keys of source and target."""
    states: dict[str, tuple[datetime, bool]] = field(default_factory=dict)
    """When versions were last deleted or restored, and whether deleted."""
    aliases: dict[tuple[str, str], tuple[int, int | None]] = field(default_factory=dict)
    """By the key of the collection and the alias: the number of the change, and the version."""
    renames: dict[str, CollectionName] = field(default_factory=dict)
    """The names before of collections of which no event told the uid, by the keys of their labels."""

    def add(self, time: datetime, fact: Fact) -> None:
        """Add what an event says."""
        match fact:
            case CollectionSeen():
                key = self._collection(fact.uid, fact.name, time, fact.type)
                if fact.old_name and not fact.uid:
                    self.renames[key] = fact.old_name
            case VersionMade():
                self._made(time, fact)
            case VersionTaken():
                label = self._collection("", fact.name.parent, EARLIEST, None)
                self._node(NodeSeen(fact.uid, label, is_guess=True, number=fact.name.number))
                self._edge(fact.uid, self._run(fact.run, time), EdgeSeen(EdgeKind.USED, time, fact.alias_text))
            case VersionState():
                label = self._collection("", fact.name.parent, EARLIEST, None)
                self._node(NodeSeen(fact.uid, label, is_guess=True, number=fact.name.number))
                if time >= self.states.get(fact.uid, (EARLIEST, False))[0]:
                    self.states[fact.uid] = (time, fact.is_deleted)
            case AliasSet():
                alias = (self._collection(fact.collection_uid, fact.name.parent, time, None), fact.name.alias)
                if fact.seq > self.aliases.get(alias, (0, None))[0]:
                    self.aliases[alias] = (fact.seq, fact.number)

    def _made(self, time: datetime, fact: VersionMade) -> None:
        label = self._collection(fact.collection_uid, fact.name.parent, time, fact.type)
        created = None if fact.deduplicated else time
        self._node(NodeSeen(fact.uid, label, number=fact.name.number, digest=fact.digest, create_time=created))
        produced = EdgeSeen(EdgeKind.PRODUCED, time, deduplicated=fact.deduplicated)
        if fact.run:
            self._edge(self._run(fact.run, time), fact.uid, produced)
        if fact.origin_uid and fact.origin_uid != fact.uid:  # a copy into its own collection found the version itself
            copy = f"copy:{fact.origin_uid}>{fact.uid}"
            self._node(NodeSeen(copy, self._job(fact.name.parent.parent, COPY), create_time=time))
            self._label(LabelSeen(UNKNOWN, NodeKind.VERSION))
            self._node(NodeSeen(fact.origin_uid, UNKNOWN, is_guess=True))
            self._edge(fact.origin_uid, copy, EdgeSeen(EdgeKind.USED, time))
            self._edge(copy, fact.uid, produced)

    def _collection(self, uid: str, name: CollectionName, time: datetime, type_: str | None) -> str:
        seen = LabelSeen(
            f"uid:{uid}" if uid else f"name:{name}",
            NodeKind.VERSION,
            name.team,
            name.project,
            name.collection,
            type_ or "",
            time,
            EARLIEST if type_ is None else time,
        )
        return self._label(seen)

    def _job(self, project: ProjectName, job_type: str) -> str:
        return self._label(job_label(project, job_type))

    def _run(self, run: RunSeen, time: datetime) -> str:
        name = run.name
        label = self._job(ProjectName(name.team, name.project), "")
        seen = NodeSeen(run_key(name), label, run_id=name.run, display_name=run.display_name, create_time=time, told_time=time)
        # Whoever began the run knows its job type; the events do not.
        return self._node(replace(seen, is_guess=True))

    def _label(self, seen: LabelSeen) -> str:
        known = self.labels.get(seen.key)
        self.labels[seen.key] = known.merged(seen) if known else seen
        return seen.key

    def _node(self, seen: NodeSeen) -> str:
        known = self.nodes.get(seen.key)
        self.nodes[seen.key] = known.merged(seen) if known else seen
        return seen.key

    def _edge(self, source: str, target: str, seen: EdgeSeen) -> None:
        known = self.edges.get((source, target))
        if known is None or seen.time < known.time:
            self.edges[source, target] = seen


UNKNOWN: Final = "unknown"
"""The key of the label of versions of which only the uid is known."""


def run_key(name: RunName) -> str:
    """The key of the node of a run."""
    return str(name)


def job_label(project: ProjectName, job_type: str) -> LabelSeen:
    """The label of the runs of a project with one job type."""
    key = f"run:{project.team}/{project.project}/{job_type}"
    return LabelSeen(key, NodeKind.RUN, project.team, project.project, type=job_type)


def deltas(events: Sequence[GraphEvent]) -> Iterator[Delta]:
    """What events change, in as few pieces as may be.

    A collection without a uid is known by its name alone, so after it was renamed a new piece begins.
    """
    for piece in _pieces(events):
        delta = Delta()
        for event in piece:
            if event.fact is not None:
                delta.add(event.time, event.fact)
        yield delta


def _pieces(events: Iterable[GraphEvent]) -> Iterator[list[GraphEvent]]:
    piece: list[GraphEvent] = []
    for event in events:
        if isinstance(event.fact, CollectionSeen) and event.fact.old_name and not event.fact.uid:
            yield piece
            yield [event]
            piece = []
        else:
            piece.append(event)
    yield piece
