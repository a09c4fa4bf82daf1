"""A graph as an indented text: what people read in a terminal."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modelkeep._node import Edge, Group, Node
from modelkeep._printable import printable
from modelkeep._wire import last

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from modelkeep._graph import Graph

DEEPEST: Final = 60
"""So many levels are told; of what lies deeper only that it is there, as lines grow with every level."""
_VERBS: Final = {
    ("up", "produced"): "made by",
    ("up", "used"): "used",
    ("down", "used"): "used by",
    ("down", "produced"): "made",
}
_COPY_VERBS: Final = {"used": "of", "made": "as"}
_BRANCH, _LAST, _PASS, _BLANK = "├─ ", "└─ ", "│  ", "   "


@dataclass(frozen=True, slots=True)
class Line:
    """A line in parts, each with its role, which a terminal may show: guide, verb, run, version, group, gone, note, mark."""

    parts: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, *parts: tuple[str, str]) -> Line:
        """Names come from other people: what would steer a terminal, or end the line, is left out."""
        return cls(tuple((printable(text), role) for text, role in parts if text))

    def __str__(self) -> str:
        return "".join(text for text, _ in self.parts)


@dataclass(frozen=True, slots=True)
class _Child:
    """What stands under a node."""

    verb: str
    what: Node | Group
    edge: Edge | None = None
    direction: str = ""


def tree_lines(graph: Graph) -> Iterator[Line]:
    """The root, what it was made from, what was made from it; each node is told once, and marked where it comes again."""
    if not graph.nodes:
        yield from _ends(graph)
        return
    tree = _Tree(graph)
    asked = "" if not graph.asked or graph.asked.endswith(graph.root.name or "\n") else f"  as {graph.asked}"
    yield Line.of(*tree.name(graph.root), (asked, "note"), *_when(graph.root.create_time))
    told = {(graph.root.id, "up"), (graph.root.id, "down")}
    stack = [("", iter(_with_last(tree.under_root())))]
    while stack:
        guides, children = stack[-1]
        for child, is_last in children:
            mark = ""
            if isinstance(child.what, Node):
                key = (child.what.id, child.direction)
                below = tree.children(child.what, child.direction)
                if key in told:
                    mark = "  (above)"
                elif below and len(stack) >= DEEPEST:
                    mark = "  … goes on from here"
                else:
                    told.add(key)
                    if below:
                        stack.append((guides + (_BLANK if is_last else _PASS), iter(_with_last(below))))
            yield tree.line(guides + (_LAST if is_last else _BRANCH), child, mark)
            if stack[-1][1] is not children:
                break
        else:
            stack.pop()
    yield from _ends(graph)


def _ends(graph: Graph) -> Iterator[Line]:
    if graph.truncation:
        yield Line.of(("… there is more: ", "mark"), (graph.truncation, "mark"))
    if graph.lagging:
        yield Line.of(("… the newest events are not read yet: ask again", "mark"))


class _Tree:
    """The neighbours of each node, as the question went."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._ways = ("up", "down") if graph.direction == "both" else (graph.direction,)
        self._beside: dict[tuple[int, str], list[_Child]] = defaultdict(list)
        for edge in graph.edges:
            source, target = graph.nodes.get(edge.source), graph.nodes.get(edge.target)
            if source is None or target is None:
                continue
            self._add(target, "up", source, edge)
            self._add(source, "down", target, edge)
        for group in graph.groups:
            verb = _VERBS[group.direction, _edge_kind(group)]
            self._beside[group.node, group.direction].append(_Child(verb, group))

    def _add(self, node: Node, direction: str, other: Node, edge: Edge) -> None:
        verb = _VERBS[direction, edge.kind]
        if node.is_copy:
            verb = _COPY_VERBS.get(verb, verb)
        self._beside[node.id, direction].append(_Child(verb, other, edge, direction))

    def children(self, node: Node, direction: str) -> list[_Child]:
        return self._beside.get((node.id, direction), [])

    def under_root(self) -> list[_Child]:
        """What is beside the root, and what no line would lead to, as what lies between is not shown."""
        root = self._graph.root
        return [child for way in self._ways for child in self.children(root, way)] + self._apart()

    def _apart(self) -> list[_Child]:
        reached = {self._graph.root.id}
        waiting = [(self._graph.root, way) for way in self._ways]
        seen = set()
        while waiting:
            node, way = waiting.pop()
            if (node.id, way) in seen:
                continue
            seen.add((node.id, way))
            for child in self.children(node, way):
                if isinstance(child.what, Node):
                    reached.add(child.what.id)
                    waiting.append((child.what, way))
        where = self._graph.direction if len(self._ways) == 1 else "away"
        apart: list[Node | Group] = [node for node in self._graph.nodes.values() if node.id not in reached]
        apart += [group for group in self._graph.groups if group.node not in reached]
        return [_Child(f"{one.depth} {'step' if one.depth == 1 else 'steps'} {where}:", one) for one in apart]

    def line(self, guides: str, child: _Child, mark: str) -> Line:
        head = ((guides, "guide"), (f"{child.verb} ", "verb"))
        if isinstance(child.what, Group):
            return Line.of(*head, *self.group(child.what))
        return Line.of(*head, *self.name(child.what), *self.notes(child.edge), (mark, "mark"))

    def group(self, group: Group) -> list[tuple[str, str]]:
        if group.hidden:
            return [(f"{group.node_count:,} {group.kind or 'node'}s of a team that you may not read", "gone")]
        elsewhere = self._elsewhere(group)
        of = last(group.collection) if group.collection else ""
        place = f" of {elsewhere}{'/' if elsewhere and of else ''}{of}" if elsewhere or of else ""
        about = [(f"  ({group.type})", "note")] if group.type else []
        return [(f"{group.node_count:,} {group.kind}s{place}", "group"), *about]

    def _elsewhere(self, what: Node | Group, end: str = "") -> str:
        """Team and project, where they are not those of the root."""
        root_team, root_project = self._graph.root.place
        team, project = what.place
        if (team, project) in {(root_team, root_project), ("", "")}:
            return ""
        return (project if team == root_team else f"{team}/{project}") + end

    def notes(self, edge: Edge | None) -> list[tuple[str, str]]:
        if edge is None:
            return []
        used = self._graph.nodes[edge.source].name
        notes = [(f"  as {edge.alias_text}", "note")] if edge.alias_text and not edge.alias_text.endswith(used or "\n") else []
        notes += [("  the content was there already", "note")] if edge.deduplicated else []
        return [*notes, *_when(edge.time)]

    def name(self, node: Node) -> list[tuple[str, str]]:
        if node.hidden:
            return [(f"a {node.kind or 'node'} of a team that you may not read", "gone")]
        if node.is_copy:
            return [("a copy", "run")]
        parts = [
            (self._elsewhere(node, "/") + (node.name or last(node.resource_name)), "gone" if node.delete_time else node.kind)
        ]
        about = [node.type] if node.type else []
        about += ["not recorded"] if node.external else []
        parts += [(f"  ({', '.join(about)})", "note")] if about else []
        return parts + ([(f"  deleted {_day(node.delete_time)}", "gone")] if node.delete_time else [])


def _with_last(children: list[_Child]) -> list[tuple[_Child, bool]]:
    return [(child, number == len(children)) for number, child in enumerate(children, 1)]


def _edge_kind(group: Group) -> str:
    """What the edges of a group say: of runs above, and of versions below, that they produced, or were."""
    return "produced" if (group.direction == "up") == (group.kind == "run") else "used"


def _when(moment: datetime | None) -> tuple[tuple[str, str], ...]:
    return ((f"  {moment.astimezone():%Y-%m-%d %H:%M:%S}", "when"),) if moment else ()


def _day(moment: datetime | None) -> str:
    return f"{moment.astimezone():%Y-%m-%d}" if moment else ""
