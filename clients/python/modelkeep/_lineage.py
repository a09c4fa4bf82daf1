"""Questions about the graph: what came from what."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from google.protobuf.timestamp_pb2 import Timestamp

from modelkeep._node import KINDS, Group, Link, Node, parse_direction
from modelkeep._wire import pages
from modelkeep.address import is_date, parse_moment
from modelkeep.api.lineage.v1 import graph_pb2
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.errors import InvalidArgument, ServiceUnavailable
from modelkeep.names import ProjectName, parse_text, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep._channel import Connection

Moment = datetime | str
"""A time, or a text of it: RFC 3339, or a date, which means the end of that day; `since` means its beginning."""

LINKS_AT_ONCE: Final = 200
MAX_COUNT: Final = 2**31 - 1
"""What a number of a message holds at most."""

_log: Final = logging.getLogger("modelkeep")


@dataclass(frozen=True, slots=True)
class Impact:
    """What was made from something, in short."""

    version_count: int
    run_count: int
    groups: tuple[Group, ...]
    """The same by collection or job type, the largest first."""
    aliases: tuple[str, ...]
    """Aliases that point to it or to what comes from it, by their resource names; hidden ones are only counted."""
    alias_count: int
    truncation: str
    """Why counting stopped: the numbers are lower bounds then. Empty when everything was counted."""
    lagging: bool

    @classmethod
    def from_pb(cls, message: pb.Impact) -> Impact:
        """Read a message."""
        return cls(
            message.version_count,
            message.run_count,
            tuple(map(Group.from_pb, message.groups)),
            tuple(message.aliases),
            message.alias_count,
            message.truncation.reason if message.HasField("truncation") else "",
            message.lagging,
        )


def count(value: int, field: str, *, least: int = 0) -> int:
    """A number as a message holds it. Raises InvalidArgument."""
    if not isinstance(value, int):
        raise InvalidArgument(f"{field} is {shown(value)}; it is a whole number", field=field)
    if not least <= value <= MAX_COUNT:
        raise InvalidArgument(f"{field} is {value:,}; it is a number from {least:,} to {MAX_COUNT:,}", field=field)
    return value


def timestamp(moment: Moment | None, *, begins: bool = False) -> Timestamp | None:
    """The time of a message; of a date the beginning where something `begins` then, else the end.

    Raises InvalidAddress for a text that is none; InvalidArgument for a time without a zone, and for what is no time.
    """
    if moment is None:
        return None
    time = parse_moment(moment) if isinstance(moment, str) else moment
    if not isinstance(time, datetime):
        message = f"{shown(moment)} is no time; expected a datetime with its zone, or a text such as 2026-03-01T12:00:00Z"
        raise InvalidArgument(message, field="time")
    if begins and isinstance(moment, str) and is_date(moment):
        time = datetime.combine(time, datetime.min.time(), UTC)
    if time.tzinfo is None:
        raise InvalidArgument(f"{time} has no time zone, so it could mean any of 24 hours; give one", field="time")
    made = Timestamp()
    made.FromDatetime(time.astimezone(UTC).replace(tzinfo=None))
    return made


def node_filter(
    team: str,
    *,
    types: Iterable[str] = (),
    kind: str | None = None,
    projects: Iterable[str] = (),
    since: Moment | None = None,
    until: Moment | None = None,
) -> pb.NodeFilter:
    """Which nodes to show. Raises InvalidArgument, InvalidName."""
    if kind is not None and (not isinstance(kind, str) or kind not in KINDS):
        raise InvalidArgument(f"{shown(kind)} is no kind of node; they are 'run' and 'version'", field="kind")
    return pb.NodeFilter(
        types=several(types),
        kind=KINDS[kind] if kind else graph_pb2.NODE_KIND_UNSPECIFIED,
        projects=[_project(name, team) for name in several(projects)],
        since_time=timestamp(since, begins=True),
        until_time=timestamp(until),
    )


def several(texts: Iterable[str]) -> list[str]:
    """One text, or several. Raises InvalidArgument."""
    if not isinstance(texts, Iterable):
        raise InvalidArgument(f"{shown(texts)} is given for several texts; expected a list of them, or one", field="texts")
    return [parse_text(text, "text") for text in ([texts] if isinstance(texts, str) else texts)]


def _project(text: str, team: str) -> str:
    first, slash, second = text.rpartition("/")
    return str(ProjectName(first if slash else team, second))


def tell_lag(*names: str) -> None:
    """Say in the log that an answer lags behind."""
    _log.warning("not everything that happened to %s was read yet; ask again for the rest", " and ".join(names))


def neighbors(
    connection: Connection, name: str, direction: str, types: Iterable[str] = (), *, as_of: Moment | None = None
) -> Iterator[Link]:
    """What is beside a run or a version, newest first. When the graph lags behind, the log says so."""

    def links(page: pb.ListNeighborsResponse) -> Iterable[graph_pb2.Link]:
        if page.lagging and not request.page_token:
            tell_lag(name)
        return page.links

    if parse_direction(direction) == graph_pb2.DIRECTION_BOTH:
        raise InvalidArgument("'both' are two lists; ask for 'up' and for 'down'", field="direction", value=direction)
    request = pb.ListNeighborsRequest(
        parent=name,
        direction=parse_direction(direction),
        types=several(types),
        as_of_time=timestamp(as_of),
        page_size=LINKS_AT_ONCE,
    )
    return (Link.from_pb(message, connection) for message in pages(connection.lineage.ListNeighbors, request, links))


def produced_for_good(connection: Connection, run: str) -> list[Link]:
    """All that a run was the first to produce, and that is there. Raises ServiceUnavailable when that is not known yet."""
    request = pb.ListNeighborsRequest(parent=run, direction=graph_pb2.DIRECTION_DOWNSTREAM, page_size=1000)
    found: list[Link] = []
    while True:
        page = connection.lineage.ListNeighbors(request)
        if page.lagging:
            message = f"it is not known yet what all {run} produced, so nothing was deleted; try again in a moment"
            raise ServiceUnavailable(message, run=run)
        found += (Link.from_pb(link, connection) for link in page.links)
        if not page.next_page_token:
            return [link for link in found if not (link.edge.deduplicated or link.node.hidden or link.node.delete_time)]
        request.page_token = page.next_page_token


def common_ancestors(
    connection: Connection, first: str, second: str, chosen: pb.NodeFilter, as_of: Moment | None
) -> Iterator[Node]:
    """What two nodes both come from, the nearest first."""
    request = pb.ListCommonAncestorsRequest(first=first, second=second, filter=chosen, as_of_time=timestamp(as_of))

    def nodes(page: pb.ListCommonAncestorsResponse) -> Iterable[graph_pb2.Node]:
        if page.lagging and not request.page_token:
            tell_lag(first, second)
        return page.nodes

    return (Node.from_pb(message, connection) for message in pages(connection.lineage.ListCommonAncestors, request, nodes))


def impact(connection: Connection, name: str, as_of: Moment | None) -> Impact:
    """What would be touched if it were bad."""
    return Impact.from_pb(connection.lineage.GetImpact(pb.GetImpactRequest(name=name, as_of_time=timestamp(as_of))))
