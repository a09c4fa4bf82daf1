"""The graph: `lineage`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from modelkeep.cli.call import Call, command
from modelkeep.cli.output import MAX_COUNT, counted, shown_when
from modelkeep.errors import InvalidArgument
from modelkeep.names import CollectionName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modelkeep import Graph, Group, Impact, Link, Node

T = TypeVar("T")

QUESTIONS: Final = ("--list", "--sources", "--common", "--to", "--impact")
LIMIT: Final = 1000
"""So many nodes are shown unless somebody wants more."""
_STYLES: Final = {
    "guide": "dim",
    "verb": "dim",
    "run": "cyan",
    "version": "bold",
    "group": "magenta",
    "gone": "red",
    "note": "dim",
    "when": "dim",
    "mark": "yellow",
}

Subject = Annotated[
    str, typer.Argument(metavar="NAME:ALIAS|RUN", help="A version, or a run by its id or name.", show_default=False)
]
Up = Annotated[bool, typer.Option("--up", help="Only what it was made from.")]
Down = Annotated[bool, typer.Option("--down", help="Only what was made from it.")]
Depth = Annotated[int, typer.Option(help="How many steps to go; 0 means as far as there are any.", min=0, max=MAX_COUNT)]
Type = Annotated[list[str] | None, typer.Option(help="Show only this type, or job type; may be repeated.", show_default=False)]
Kind = Annotated[str | None, typer.Option(help="Show only 'run' or 'version'.", show_default=False)]
In = Annotated[
    list[str] | None,
    typer.Option("--in", metavar="PROJECT", help="Show only this project; may be repeated.", show_default=False),
]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Show only what is of that time or later.", show_default=False)]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Show only what is from before that time.", show_default=False)]
AsOf = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="As it was then: 2026-03-01, or 2026-03-01T12:00:00Z.", show_default=False),
]
Expand = Annotated[bool, typer.Option("--expand", help="Show large fans node by node, and go through them.")]
Limit = Annotated[
    int | None,
    typer.Option(help="Show at most so many nodes; 0 means all.", min=0, max=MAX_COUNT, show_default=str(LIMIT)),
]
Dot = Annotated[bool, typer.Option("--dot", help="Answer in the language of Graphviz: … --dot | dot -Tsvg > it.svg")]
List = Annotated[bool, typer.Option("--list", help="List what is directly beside it, newest first.")]
Sources = Annotated[bool, typer.Option("--sources", help="List the versions that it was made from, nearest first.")]
Common = Annotated[
    str | None, typer.Option(metavar="OTHER", help="List what it and OTHER both come from, nearest first.", show_default=False)
]
To = Annotated[
    str | None, typer.Option(metavar="OTHER", help="Show every way from it to OTHER, along the flow.", show_default=False)
]
ImpactOf = Annotated[bool, typer.Option("--impact", help="Sum up what would be touched if it were bad.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "lineage")(lineage)


def lineage(
    call: Call,
    subject: Subject,
    *,
    up: Up = False,
    down: Down = False,
    depth: Depth = 0,
    type: Type = None,  # noqa: A002 - the option's name
    kind: Kind = None,
    in_: In = None,
    since: Since = None,
    until: Until = None,
    as_of: AsOf = None,
    expand: Expand = False,
    limit: Limit = None,
    dot: Dot = False,
    list_: List = False,
    sources: Sources = False,
    common: Common = None,
    to: To = None,
    impact: ImpactOf = False,
) -> None:
    """Show what a version or a run was made from, and what was made from it, as a tree.

    `docs/lineage.md` has more of what can be asked.
    """
    chosen = Chosen(depth, type or [], kind, in_ or [], since, until, expand)
    asked = [name for name, value in zip(QUESTIONS, (list_, sources, common, to, impact), strict=True) if value]
    _check(call, asked, chosen, way=up or down, dot=dot, limited=limit is not None)
    way, most = "both" if up == down else "up" if up else "down", LIMIT if limit is None else limit
    question = Question(call, subject, way, chosen, as_of, most, dot)
    match asked:
        case ["--list"]:
            question.list()
        case ["--sources"]:
            question.sources()
        case ["--common"]:
            question.common(common or "")
        case ["--to"]:
            question.ways(to or "")
        case ["--impact"]:
            _impact(call, subject, call.api.impact(subject, as_of=as_of))
        case _:
            question.graph()


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which nodes to show."""

    depth: int
    types: list[str]
    kind: str | None
    projects: list[str]
    since: str | None
    until: str | None
    expand: bool

    def given(self) -> set[str]:
        """The options that say so, `--type` apart."""
        values = {"--depth": self.depth, "--kind": self.kind, "--in": self.projects, "--expand": self.expand}
        return {name for name, value in (values | {"--since": self.since, "--until": self.until}).items() if value}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about one node, and how it is answered."""

    call: Call
    subject: str
    way: Any
    chosen: Chosen
    as_of: str | None
    limit: int
    dot: bool

    def graph(self) -> None:
        """What it was made from, and what was made from it."""
        chosen = self.chosen
        graph = self.call.api.lineage(
            self.subject,
            direction=self.way,
            depth=chosen.depth,
            types=chosen.types,
            kind=chosen.kind,
            projects=chosen.projects,
            since=chosen.since,
            until=chosen.until,
            as_of=self.as_of,
            group_from=-1 if chosen.expand else 0,
            max_nodes=self.limit,
        )
        _show(self.call, graph, self.limit, dot=self.dot)
        chose = chosen.given() - {"--depth", "--expand"} | ({"--type"} if chosen.types else set())
        if chose and len(graph.nodes) + len(graph.groups) == 1 and not graph.truncation:
            self.call.out.note(f"nothing else of {self.subject} is what {' and '.join(sorted(chose))} asked for")

    def ways(self, other: str) -> None:
        """All ways to another one."""
        graph = self.call.api.paths(self.subject, other, as_of=self.as_of, max_nodes=self.limit)
        _show(self.call, graph, self.limit, dot=self.dot)
        if not graph.nodes:
            self.call.out.note(no_way_words(self.subject, other, graph.truncation))

    def list(self) -> None:
        """What is directly beside it."""
        found = _beside(self.call, self.subject, self.way, self.chosen.types, self.as_of)
        _list(self.call, self._at_most(found), nothing_words(self.subject, self.way, self._of_types()))

    def sources(self) -> None:
        """The versions that it was made from."""
        found = self.call.api.sources(self.subject, type=self.chosen.types, as_of=self.as_of)
        _nodes(self.call, self._at_most(found), f"{self.subject} was made from nothing that is known{self._of_types()}")

    def common(self, other: str) -> None:
        """What it and another one both come from."""
        found = self.call.api.common_ancestors(self.subject, other, type=self.chosen.types, as_of=self.as_of)
        _nodes(self.call, self._at_most(found), f"{self.subject} and {other} come from nothing in common{self._of_types()}")

    def _at_most(self, found: Iterable[T]) -> Iterator[T]:
        """As many as are to be shown; that there are more is told."""
        rest = iter(found)
        yield from islice(rest, self.limit or None)
        if self.limit and next(rest, None) is not None:
            self.call.out.note(f"there is more than {self.limit:,}; --limit 0 shows all")

    def _of_types(self) -> str:
        return f" of type {' or '.join(self.chosen.types)}" if self.chosen.types else ""


def _check(call: Call, asked: list[str], chosen: Chosen, *, way: bool, dot: bool, limited: bool) -> None:
    """Refuse what would be ignored: an answer to another question than was asked misleads."""
    if len(asked) > 1:
        raise InvalidArgument(f"{' and '.join(asked)} are two questions; ask one at a time", field=asked[1].strip("-"))
    if dot and call.out.as_json:
        raise InvalidArgument("--dot and --json are two forms of one answer; choose one", field="dot")
    ignored = chosen.given() if asked else set()
    ignored |= {"--up or --down"} if way and asked not in ([], ["--list"]) else set()
    ignored |= {"--type"} if chosen.types and asked in (["--to"], ["--impact"]) else set()
    ignored |= {"--limit"} if limited and asked == ["--impact"] else set()
    ignored |= {"--dot"} if dot and asked not in ([], ["--to"]) else set()
    if ignored:
        names = ", ".join(sorted(ignored))
        raise InvalidArgument(f"{asked[0]} takes no {names}", field=min(ignored).strip("-"))


def _show(call: Call, graph: Graph, limit: int, *, dot: bool) -> None:
    while (not limit or len(graph.nodes) + len(graph.groups) < limit) and graph.more():
        pass
    if dot:
        sys.stdout.write(graph.to_dot())
    elif call.out.as_json:
        call.out.answer(graph.to_dict())
    else:
        _print_tree(graph)
    if graph.truncation:
        call.out.note("this is not all: --limit 0 shows all that can be told, --depth goes less far")
    if graph.lagging and (dot or call.out.as_json):
        call.out.note("the newest events are not read yet; ask again")
    if graph.groups and not dot and not call.out.as_json:
        call.out.note("large fans are told as one; --expand shows them node by node, --list what is directly beside")


def _print_tree(graph: Graph) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a tree has colours
    from rich.text import Text  # noqa: PLC0415

    from modelkeep._graph_tree import tree_lines  # noqa: PLC0415 - help needs no client

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    for line in tree_lines(graph):
        console.print(Text.assemble(*((text, _STYLES.get(role, "")) for text, role in line.parts)))


def _list(call: Call, found: Iterable[tuple[str, Link]], empty: str) -> None:
    columns: dict[str, Callable[[tuple[str, Link]], str]] = {
        "HOW": lambda one: _how(*one),
        "NAME": lambda one: _name(call, one[1].node),
        "TYPE": lambda one: one[1].node.type,
        "WHEN": lambda one: shown_when(one[1].edge.time),
        "AS": lambda one: one[1].edge.alias_text,
        "RUN": lambda one: one[1].node.resource_name.rpartition("/")[2] if one[1].node.kind == "run" else "",
    }
    call.out.table(found, lambda one: _link_json(*one), columns, empty=empty)


def _beside(call: Call, subject: str, way: str, types: list[str], as_of: str | None) -> Iterator[tuple[str, Link]]:
    for direction in ("up", "down") if way == "both" else (way,):
        for link in call.api.neighbors(subject, direction, types=types, as_of=as_of):
            yield direction, link


def _how(direction: str, link: Link) -> str:
    by_run = (link.edge.kind == "used") == (direction == "down")
    return ("used" if link.edge.kind == "used" else "made") + (" by" if by_run else "")


def _link_json(direction: str, link: Link) -> dict[str, Any]:
    from modelkeep._graph import edge_dict, node_dict  # noqa: PLC0415 - help needs no client

    return {"direction": direction, "node": node_dict(link.node), "edge": edge_dict(link.edge)}


def _nodes(call: Call, found: Iterable[Node], empty: str) -> None:
    from modelkeep._graph import node_dict  # noqa: PLC0415 - help needs no client

    columns: dict[str, Callable[[Node], str]] = {
        "STEPS": lambda node: str(node.depth),
        "NAME": lambda node: _name(call, node),
        "TYPE": lambda node: node.type,
        "CREATED": lambda node: shown_when(node.create_time),
        "DIGEST": lambda node: node.digest[:19],
    }
    call.out.table(found, node_dict, columns, empty=empty)


def _name(call: Call, node: Node) -> str:
    if node.hidden:
        return "(a team that you may not read)"
    if node.is_copy:
        return "(a copy)"
    return f"{_elsewhere(call, node)}{node.name}" + (" (deleted)" if node.delete_time else "")


def _elsewhere(call: Call, what: Node | Group) -> str:
    """Team and project of what has a name, with a slash at the end, where they are not those of who asks."""
    team, project = what.place
    api = call.api
    return f"{team}/{project}/" if team != api.team else f"{project}/" if project != api.default_project else ""


def _impact(call: Call, subject: str, impact: Impact) -> None:
    from modelkeep._graph import group_dict  # noqa: PLC0415 - help needs no client

    data = {
        "version_count": impact.version_count,
        "run_count": impact.run_count,
        "groups": [group_dict(group) for group in impact.groups],
        "aliases": list(impact.aliases),
        "alias_count": impact.alias_count,
        "truncation": {"reason": impact.truncation} if impact.truncation else None,
        "lagging": impact.lagging,
    }
    least = "at least " if impact.truncation else ""
    lines = [
        f"{subject}: {least}{counted(impact.version_count, 'version')} and {counted(impact.run_count, 'run')} come from it"
    ]
    lines += (f"  {group_words(group, '' if group.hidden else _elsewhere(call, group))}" for group in impact.groups)
    if impact.alias_count:
        unread = impact.alias_count - len(impact.aliases)
        names = [alias_words(name, call.api.team) for name in impact.aliases] + ([f"{unread:,} more"] if unread else [])
        lines.append(f"aliases that point there: {', '.join(names)}")
    else:
        lines.append("no alias points there")
    call.out.answer(data, *lines)
    if impact.truncation:
        call.out.note(f"counting stopped: {impact.truncation}")
    if impact.lagging:
        call.out.note("the newest events are not read yet; ask again")


def nothing_words(subject: str, way: str, of_types: str) -> str:
    """What is said where nothing of what was asked for is directly beside something."""
    where = {"up": "directly above", "down": "directly below"}.get(way, "beside")
    return f"nothing{of_types} is {where} {subject}"


def no_way_words(subject: str, other: str, truncation: str) -> str:
    """What is said where no way was found."""
    if truncation:
        return f"no way from {subject} to {other} was found before the server stopped; there may be one: {truncation}"
    return f"no way leads from {subject} to {other}; {other} may lie before it"


def group_words(group: Group, elsewhere: str) -> str:
    """What is told as one, in an impact; collections and job types of one name in several projects are told apart."""
    if group.hidden:
        return f"{counted(group.node_count, group.kind or 'node')} of a team that you may not read"
    name = elsewhere + CollectionName.parse(group.collection).collection if group.collection else elsewhere.rstrip("/")
    of = f" of {name}" if name else ""
    return f"{counted(group.node_count, group.kind)}{of}" + (f"  ({group.type})" if group.type else "")


def alias_words(resource_name: str, team: str) -> str:
    """`project/digits:best`, of its resource name; with its team, where that is not the one of who asks."""
    parts = resource_name.split("/", 7)
    if len(parts) < 8:
        return resource_name
    return f"{'' if parts[1] == team else f'{parts[1]}/'}{parts[3]}/{parts[5]}:{parts[7]}"
