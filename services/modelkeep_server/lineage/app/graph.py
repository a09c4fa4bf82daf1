"""The use cases of the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from heapq import nsmallest
from itertools import chain
from typing import Final

from modelkeep.errors import InvalidArgument, InvalidPageToken, LimitExceeded, PermissionDenied
from modelkeep.names import CollectionName

from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.lineage.app.graph_base import Questions
from modelkeep_server.lineage.app.graph_lineage import lineage
from modelkeep_server.lineage.app.graph_paths import paths
from modelkeep_server.lineage.app.graph_show import GROUP, Moment, View
from modelkeep_server.lineage.app.graph_walk import Walk
from modelkeep_server.lineage.domain.graph import (
    Direction,
    Fan,
    Group,
    Impact,
    Label,
    Link,
    Node,
    NodeKind,
    Part,
    Shown,
    Truncation,
)
from modelkeep_server.lineage.domain.graph_ask import CommonAsk, GraphName, LineageAsk, NeighborsAsk, PathsAsk
from modelkeep_server.lineage.domain.graph_ids import Depths
from modelkeep_server.lineage.domain.graph_walk import Batch
from modelkeep_server.lineage.ports.graph import Beside
from modelkeep_server.runtime.callers import Caller

MOST_GROUPS: Final = 1000
MOST_ALIASES: Final = 1000
"""How many groups and aliases an Impact tells."""
ALIASES_READ: Final = 100_000
LABELS_AT_ONCE: Final = 500
"""How many aliases are read at most, of so many collections at once."""


class GraphApp:
    """Answers what came from what."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._graph = questions.graph

    async def list_neighbors(self, caller: Caller, ask: NeighborsAsk, page: Page) -> tuple[Listing[Link], bool]:
        """What is beside a node, newest first, and whether the answer lags."""
        page.position(*ask.query(), of=(int, int))
        start = await self._questions.start(caller, ask.name, ask.as_of)
        view = View(self._graph, caller)
        labels = None
        if ask.types:
            fans = await self._graph.fans(start.node.id, ask.direction, ask.types)
            labels = [label.id for label in fans if view.may_see(label)]  # of hidden nodes the type is not told either
        which = Beside(start.node.id, ask.direction, start.moment.as_of, labels)
        return await self._links(view, which, start.moment, page, ask.query()), start.is_lagging

    async def _links(self, view: View, which: Beside, moment: Moment, page: Page, query: tuple[object, ...]) -> Listing[Link]:
        found = await self._graph.beside(which, page, *query)
        await view.labels({id_ for _, edge in found.items for id_ in (edge.source_label_id, edge.target_label_id)})
        links = [await view.link(node, edge, 1, moment) for node, edge in found.items]
        return Listing(tuple(links), found.next_token)

    def stream_lineage(self, caller: Caller, ask: LineageAsk) -> AsyncIterator[Part]:
        """Walk from a node, and tell what is met."""
        return lineage(self._questions, caller, ask)

    async def list_group_nodes(self, caller: Caller, group: str, page: Page) -> Listing[Link]:
        """The nodes of a group, newest first. Raises InvalidArgument for what is no group, PermissionDenied."""
        node_id, is_down, label_id, as_of = _group(group)
        direction = Direction.DOWNSTREAM if is_down else Direction.UPSTREAM
        view = View(self._graph, caller)
        nodes, labels = await self._graph.nodes([node_id]), await self._graph.labels([label_id])
        teams = [label.team for label in (*labels.values(), *(node.label for node in nodes.values()))]
        if not any(caller.may(caller.access, team) for team in teams):
            # Who may read either side of the edges saw the group, or could have. Of one that lies between hidden nodes that
            # cannot be told from the token alone, which anybody could make up; and whose it is, is not told (SEM-54).
            message = (
                "the nodes of this group, and the one that they are beside, are of teams that you may not read; "
                "a walk without groups (group_from below 0) goes through them one by one, as hidden ones"
            )
            raise PermissionDenied(message, needs=caller.access.value)
        moment = Moment(as_of, is_past=True) if as_of else await self._questions.moment(None)
        which = Beside(node_id, direction, moment.as_of, [label_id])
        return await self._links(view, which, moment, page, ("group nodes", group))

    def stream_paths(self, caller: Caller, ask: PathsAsk) -> AsyncIterator[Part]:
        """All that lies on any way between two nodes."""
        return paths(self._questions, caller, ask)

    async def list_common_ancestors(self, caller: Caller, ask: CommonAsk, page: Page) -> tuple[Listing[Shown], bool]:
        """What two nodes both come from, nearest first, and whether the answer lags.

        Raises LimitExceeded when a node comes from more than a walk may meet: what is nearest cannot be told then.
        """
        query = ask.query()
        position = page.position(*query, of=(int,) * 3)
        one = await self._questions.start(caller, ask.first, ask.as_of)
        other = await self._questions.start(caller, ask.second, ask.as_of)
        view = View(self._graph, caller, ask.filter)
        moment, after = one.moment, (0, 0)
        if position:  # all pages are as of the moment of the first
            moment, after = Moment(position[0], moment.is_past), (position[1], position[2])
        walks = [self._questions.walk(start.node, Direction.UPSTREAM, moment) for start in (one, other)]
        async with self._questions.walking():
            found = await self._common(view, walks, after, page.size + 1)
        depths = {node: depth for depth, node in found[: page.size]}
        nodes = tuple(await view.nodes(depths, moment)) if depths else ()
        following = token([moment.as_of, *found[page.size - 1]], *query) if len(found) > page.size else ""
        return Listing(nodes, following), one.is_lagging or other.is_lagging

    async def _common(self, view: View, walks: Sequence[Walk], after: tuple[int, int], most: int) -> list[tuple[int, int]]:
        """The first common ancestors after a place, as the sum of the distances and the node."""
        one, other = walks
        depths = Depths()
        async for batch in self._all(one):
            depths.set(batch.nodes, batch.depth)
        self._require_whole(one, "first")
        found: list[tuple[int, int]] = []
        async for batch in self._all(other):
            is_common = depths.of(batch.nodes) > 0
            common = await view.passing(batch.nodes[is_common], batch.labels[is_common])
            near = zip((depths.of(common) + batch.depth).tolist(), common.tolist(), strict=True)
            found = nsmallest(most, [*found, *(place for place in near if place > after)])
        self._require_whole(other, "second")
        return found

    def _require_whole(self, walk: Walk, field: str) -> None:
        """Raises LimitExceeded for a walk that met as many nodes as it may."""
        if self._questions.is_spent(walk):
            most = self._questions.limits.max_walked
            message = f"{field} comes from {most:,} nodes or more, which is the limit of this server; ask for a node farther up"
            raise LimitExceeded(message, field=field, limit=most)

    def _all(self, walk: Walk) -> AsyncIterator[Batch]:
        return self._questions.everything(walk)

    async def get_impact(self, caller: Caller, name: GraphName, as_of: datetime | None) -> Impact:
        """What was made from a node, in short."""
        start = await self._questions.start(caller, name, as_of)
        view = View(self._graph, caller)
        async with self._questions.walking():
            walk = self._questions.walk(start.node, Direction.DOWNSTREAM, start.moment)
            by_label: Counter[int] = Counter()
            async for batch in self._all(walk):
                by_label.update(batch.labels.tolist())
            spent = self._questions.is_spent(walk)
            labels = await view.labels(by_label.keys())
            counts: Counter[NodeKind] = Counter()
            for id_, count in by_label.items():
                counts[labels[id_].kind] += count
            groups = _groups(view, start.node, labels.values(), by_label)
            names, alias_count, is_whole = await self._aliases(view, start.node, walk, labels.values())
        truncation = None
        if spent:
            truncation = Truncation(self._questions.spent_reason(), "")
        elif not is_whole:
            truncation = Truncation(f"more than {ALIASES_READ:,} aliases of {LABELS_AT_ONCE} collections were not counted", "")
        return Impact(counts, groups, tuple(names), alias_count, truncation, start.is_lagging)

    async def _aliases(self, view: View, root: Node, walk: Walk, labels: Collection[Label]) -> tuple[list[str], int, bool]:
        """The first names of the aliases that point to what was met, as far as they may be told; how many there are; and
        whether all were looked at.
        """
        collections = {label.id: label for label in (*labels, root.label) if label.kind is NodeKind.VERSION}
        names: list[str] = []
        count, is_whole = 0, True
        ids = sorted(collections)
        for start in range(0, len(ids), LABELS_AT_ONCE):
            rows = await self._graph.aliases(ids[start : start + LABELS_AT_ONCE], ALIASES_READ + 1)
            is_whole &= len(rows) <= ALIASES_READ
            met = [(collections[label], alias) for label, node, alias in rows[:ALIASES_READ] if node in walk]
            count += len(met)
            told = (
                str(CollectionName(label.team, label.project, label.collection).alias(alias))
                for label, alias in met
                if view.may_see(label)
            )
            names = nsmallest(MOST_ALIASES, chain(names, told))
        return names, count, is_whole


def _group(token_: str) -> list[int]:
    """What the token of a group says. Raises InvalidArgument."""
    try:
        if place := Page(token=token_).position(GROUP, of=(int,) * 4):
            return place
    except InvalidPageToken:
        pass
    raise InvalidArgument("group is not the token of a group; take it from an answer of StreamLineage", field="group")


def _groups(view: View, root: Node, labels: Collection[Label], counts: Counter[int]) -> tuple[Group, ...]:
    """The counts by label, the largest first; those that the caller may not read are one for each kind."""
    shown: list[Group] = []
    hidden: Counter[NodeKind] = Counter()
    for label in labels:
        if view.may_see(label):
            fan = Fan(root.id, Direction.DOWNSTREAM, label.id)
            shown.append(Group(fan, label, counts[label.id], 0, is_hidden=False, token=""))
        else:
            hidden[label.kind] += counts[label.id]
    for kind, count in hidden.items():
        nothing = Label(0, kind, "", "", "", "")
        shown.append(Group(Fan(root.id, Direction.DOWNSTREAM, 0), nothing, count, 0, is_hidden=True, token=""))
    return tuple(sorted(shown, key=lambda group: (-group.node_count, group.label.id))[:MOST_GROUPS])
