"""A graph in the language of Graphviz."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkeep._printable import printable
from modelkeep._wire import last

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep._graph import Graph
    from modelkeep._node import Edge, Group, Node


def dot_lines(graph: Graph) -> Iterator[str]:
    """A digraph along the flow of content: versions are boxes, runs are ovals, what is deleted or hidden is dashed."""
    yield "digraph lineage {"
    yield '  rankdir=LR; node [fontname="sans-serif"]; edge [fontname="sans-serif", fontsize=10];'
    if graph.truncation:
        yield f"  label={_quoted(f'there is more: {graph.truncation}')};"
    for node in graph.nodes.values():
        yield f"  n{node.id} [{_node(node, is_root=node.id == graph.root.id)}];"
    for number, group in enumerate(graph.groups):
        yield f"  g{number} [{_group(group)}];"
        if group.node in graph.nodes:
            yield f"  g{number} -> n{group.node};" if group.direction == "up" else f"  n{group.node} -> g{number};"
    for edge in graph.edges:
        if edge.source in graph.nodes and edge.target in graph.nodes:
            yield f"  n{edge.source} -> n{edge.target}{_edge(edge)};"
    yield "}"


def _node(node: Node, *, is_root: bool) -> str:
    shape = "ellipse" if node.kind == "run" else "box"
    if node.hidden:
        return f'label="no access", shape={shape}, style=dashed, color=gray'
    lines = ["copy"] if node.is_copy else [node.name or last(node.resource_name), node.type]
    lines += ["deleted"] if node.delete_time else []
    style = ", style=dashed" if node.delete_time else ", style=bold" if is_root else ""
    return f"label={_quoted(*lines)}, shape={shape}{style}, tooltip={_quoted(node.resource_name)}"


def _group(group: Group) -> str:
    if group.hidden:
        return f"label={_quoted(f'{group.node_count:,}', 'no access')}, shape=box3d, style=dashed, color=gray"
    of = last(group.collection) if group.collection else ""
    return f"label={_quoted(f'{group.node_count:,} {group.kind}s', of, group.type)}, shape=box3d"


def _edge(edge: Edge) -> str:
    text = edge.alias_text or ("again" if edge.deduplicated else "")
    return f" [label={_quoted(text)}]" if text else ""


def _quoted(*lines: str) -> str:
    """A string of Graphviz; what people wrote can neither end it nor be read as an escape, nor break what is drawn of it."""
    texts = (printable(line.replace("\n", " ").replace("\r", " ")) for line in lines if line)
    return '"' + "\\n".join(text.replace("\\", "\\\\").replace('"', '\\"') for text in texts) + '"'
