"""What the API knows of the graph: what made what, and what from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelkeep import _lineage
from modelkeep._graph import Graph, answers
from modelkeep._node import Node, parse_direction
from modelkeep._recorded_run import find_run, parse_run
from modelkeep._resolve import resolve
from modelkeep.address import Address
from modelkeep.api.lineage.v1 import graph_pb2
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.errors import (
    CollectionNotFound,
    InvalidArgument,
    InvalidName,
    ModelkeepError,
    ProjectNotFound,
    RunDeleted,
    RunNotFound,
    VersionDeleted,
    VersionPurged,
)
from modelkeep.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelkeep._channel import Connection
    from modelkeep._lineage import Impact, Moment
    from modelkeep._node import Direction, Link
    from modelkeep._recorded_run import RecordedRun
    from modelkeep._run import Run
    from modelkeep._version import Version

    Subject = str | Version | RecordedRun | Run | Node
    """What a question is about: an address of a version, a run as `Api.run` takes it, a resource name, or an object."""


_OFFLINE: Final = "teams/-/"
"""How the names of runs begin that know no server, and so no team, yet."""


class LineageApi:
    """The part of `modelkeep.Api` that is about the graph."""

    _connection: Connection

    def lineage(
        self,
        of: Subject,
        *,
        direction: Direction = "both",
        depth: int = 0,
        types: Iterable[str] = (),
        kind: str | None = None,
        projects: Iterable[str] = (),
        since: Moment | None = None,
        until: Moment | None = None,
        as_of: Moment | None = None,
        group_from: int = 0,
        max_nodes: int = 0,
    ) -> Graph:
        """What a version or a run was made from (`up`), what was made from it (`down`), or both.

            print(api.lineage("digits:best", direction="up").tree())

        It goes `depth` edges far, 0 means as far as there are any. `types` (of versions, job types of runs), `kind` (`run`,
        `version`), `projects`, `since` and `until` say which nodes are shown; it goes through all of them. `as_of` asks for the
        graph as it was then. From `group_from` neighbours of one kind (0 means 5, below 0 never) they are told as one group:
        `Graph.expand`. An answer has `max_nodes` at most (0 means what the server allows); when there is more, `truncation`
        says so, and `Graph.more` and `Graph.walk` go on.

        Raises InvalidAddress, CollectionNotFound, VersionNotFound, AliasNotFound, RunNotFound, InvalidArgument.
        """
        team = self._connection.team
        request = pb.StreamLineageRequest(
            direction=parse_direction(direction),
            max_depth=_lineage.count(depth, "depth"),
            filter=_lineage.node_filter(team, types=types, kind=kind, projects=projects, since=since, until=until),
            as_of_time=_lineage.timestamp(as_of),
            group_from=_lineage.count(group_from, "group_from", least=-_lineage.MAX_COUNT),
            max_nodes=_lineage.count(max_nodes, "max_nodes"),
        )
        request.name = self._subject(of)
        return Graph(self._connection, "StreamLineage", request, direction, asked=_words(of))

    def sources(
        self,
        of: Subject,
        *,
        type: Iterable[str] = (),  # noqa: A002 - the word that users know
        as_of: Moment | None = None,
    ) -> Iterator[Node]:
        """The versions that something was made from, directly or not, the nearest first; only of a type, or several, if given.

            for data in api.sources("digits:production", type="dataset"):
                print(data.name, data.digest)

        Raises as `lineage` does.
        """
        chosen = _lineage.node_filter(self._connection.team, types=type, kind="version")
        request = pb.StreamLineageRequest(
            direction=graph_pb2.DIRECTION_UPSTREAM, filter=chosen, as_of_time=_lineage.timestamp(as_of), group_from=-1
        )
        request.name = self._subject(of)
        for part in answers(self._connection, "StreamLineage", request):
            if part.lagging and not request.continuation:
                _lineage.tell_lag(request.name)
            for message in part.nodes:
                if message.depth > 0 and not message.hidden:
                    yield Node.from_pb(message, self._connection)

    def neighbors(
        self,
        of: Subject,
        direction: Direction,
        *,
        types: Iterable[str] = (),
        as_of: Moment | None = None,
    ) -> Iterator[Link]:
        """What is directly beside a version or a run, newest first, however many there are: `up` what it was made from or by,
        `down` what used it or what it made. Raises as `lineage` does.
        """
        return _lineage.neighbors(self._connection, self._subject(of), direction, types, as_of=as_of)

    def paths(self, source: Subject, target: Subject, *, as_of: Moment | None = None, max_nodes: int = 0) -> Graph:
        """All that lies on any way from one to the other, along the flow of content; no nodes when there is no way.

        Raises as `lineage` does.
        """
        most = _lineage.count(max_nodes, "max_nodes")
        request = pb.StreamPathsRequest(as_of_time=_lineage.timestamp(as_of), max_nodes=most)
        request.source, request.target = self._subject(source), self._subject(target)
        return Graph(self._connection, "StreamPaths", request, "down", asked=_words(source))

    def common_ancestors(
        self,
        first: Subject,
        second: Subject,
        *,
        type: Iterable[str] = (),  # noqa: A002 - the word that users know
        kind: str | None = None,
        as_of: Moment | None = None,
    ) -> Iterator[Node]:
        """What two versions or runs both come from, the nearest first; `depth` is the sum of the two distances.

        same = next(api.common_ancestors("a:best", "b:best", type="dataset"), None)
        """
        chosen = _lineage.node_filter(self._connection.team, types=type, kind=kind)
        return _lineage.common_ancestors(self._connection, self._subject(first), self._subject(second), chosen, as_of)

    def impact(self, of: Subject, *, as_of: Moment | None = None) -> Impact:
        """What would be touched if it were bad, in short: what was made from it, and which aliases point there."""
        return _lineage.impact(self._connection, self._subject(of), as_of)

    def _subject(self, of: Subject) -> str:
        """The resource name of what is meant. What was deleted has its place in the graph, too."""
        if not isinstance(of, str):
            name = getattr(of, "resource_name", None)
            if not isinstance(name, str):
                message = f"{shown(of)} has no place in the graph; expected a version, a run, a node, or the address of one"
                raise InvalidArgument(message, field="of")
            if not name and isinstance(of, Node):
                what = "a copy" if of.is_copy else "of a team that you may not read"
                raise InvalidArgument(f"the node is {what}, and has no name; ask about one beside it", field="of")
            if not name or name.startswith(_OFFLINE):
                raise InvalidArgument(f"{shown(of)} that was recorded offline is in the graph once it is synced", field="of")
            return name
        if of.startswith("teams/") and of.count("/") > 2:
            return of
        try:
            return self._version_named(of)
        except (CollectionNotFound, ProjectNotFound) as no_version:
            if set(":@") & set(of.rpartition("/")[2]):
                raise
            return self._run_named(of, no_version)
        except InvalidName as no_version:
            return self._run_named(of, no_version)

    def _version_named(self, text: str) -> str:
        connection = self._connection
        address = Address.parse(text, connection.team, connection.config.project)
        try:
            return resolve(connection, address, text).resource_name
        except (VersionDeleted, VersionPurged) as gone:
            if address.number is not None:
                return str(address.collection.version(address.number))
            if not gone.metadata.get("version"):
                raise
            return gone.metadata["version"]  # where an alias pointed at that time

    def _run_named(self, text: str, no_version: ModelkeepError) -> str:
        connection = self._connection
        try:
            return find_run(connection, text).resource_name
        except RunDeleted:
            return str(parse_run(text, connection.project))
        except InvalidName:
            raise no_version from None
        except RunNotFound as no_run:
            return self._external_run(text, no_version, no_run)

    def _external_run(self, text: str, no_version: ModelkeepError, no_run: RunNotFound) -> str:
        """A run that nobody recorded is in the graph, if it used or produced anything."""
        if "ids" in no_run.metadata:
            raise no_run
        try:
            name = str(parse_run(text, self._connection.project))
            request = pb.ListNeighborsRequest(parent=name, direction=graph_pb2.DIRECTION_UPSTREAM, page_size=1)
            self._connection.lineage.ListNeighbors(request)
        except (RunNotFound, InvalidName):
            message = f"there is neither a collection nor a run {shown(text)}: {no_version.message}; {no_run.message}"
            raise RunNotFound(message, **{**no_version.metadata, **no_run.metadata}) from None
        return name


def _words(of: Subject) -> str:
    return of if isinstance(of, str) and not of.startswith("teams/") else ""
