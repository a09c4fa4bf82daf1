"""Lineage as objects, tree, Graphviz and JSON: what is cut, hidden, deleted or told twice is visible (SEM-47, 52 to 55)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest
from modelkeep._api_lineage import LineageApi
from modelkeep._channel import Connection
from modelkeep._graph import Graph
from modelkeep._graph_tree import DEEPEST
from modelkeep.api.lineage.v1 import graph_pb2
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.errors import InvalidArgument, ModelkeepError, ServiceUnavailable

from tests.unit.sdk.graphs import RUN, VERSION, Drawn, Lineage
from tests.unit.sdk.wire import Wire

UP, DOWN = graph_pb2.DIRECTION_UPSTREAM, graph_pb2.DIRECTION_DOWNSTREAM


@pytest.fixture
def server(wire: Wire) -> Lineage:
    return wire.lineage


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def asked(connection: Connection, direction: str = "both", words: str = "") -> Graph:
    return Graph(connection, "StreamLineage", pb.StreamLineageRequest(), direction, asked=words)


def shown(connection: Connection, server: Lineage, drawn: Drawn, direction: str = "both", words: str = "") -> list[str]:
    server.streams[""] = [drawn.part]
    return [re.sub(r"  2026-03-01 12:00:00", "", line) for line in asked(connection, direction, words).tree().splitlines()]


def digits() -> Drawn:
    drawn = Drawn().version("digits:v5").run("train-1", depth=1).version("data:v0", "dataset", 2)
    drawn.run("eval-1", "evaluate", 1).version("report:v0", "metrics", 2)
    drawn.made("train-1", "digits:v5").used("train-1", "data:v0", "data:latest")
    return (
        drawn.used("eval-1", "digits:v5", "digits:best").used("eval-1", "data:v0", "vision/data:v0").made("eval-1", "report:v0")
    )


def test_a_tree_reads_from_what_was_asked_about_up_and_down(connection: Connection, server: Lineage) -> None:
    assert shown(connection, server, digits(), words="digits:best") == [
        "digits:v5  (model)  as digits:best",
        "├─ made by train-1  (train)",
        "│  └─ used data:v0  (dataset)  as data:latest",
        "└─ used by eval-1  (evaluate)  as digits:best",
        "   └─ made report:v0  (metrics)",
    ]
    above = Drawn().version("digits:v5").run("train-1", depth=1).version("data:v0", "dataset", 2)
    above.made("train-1", "digits:v5").used("train-1", "data:v0", "data:latest")
    assert shown(connection, server, above, "up", "digits:v5") == [
        "digits:v5  (model)",
        "└─ made by train-1  (train)",
        "   └─ used data:v0  (dataset)  as data:latest",
    ]
    assert asked(connection).tree().splitlines()[1] == "└─ made by train-1  (train)  2026-03-01 12:00:00"


def test_a_node_is_told_once_and_marked_where_it_comes_again(connection: Connection, server: Lineage) -> None:
    drawn = Drawn().version("m:v1").run("a", depth=1).run("b", depth=1).version("d:v0", "dataset", 2).run("prep", depth=3)
    drawn.made("a", "m:v1").made("b", "m:v1", deduplicated=True).used("a", "d:v0").used("b", "d:v0").made("prep", "d:v0")
    assert shown(connection, server, drawn, "up") == [
        "m:v1  (model)",
        "├─ made by a  (train)",
        "│  └─ used d:v0  (dataset)",
        "│     └─ made by prep  (train)",
        "└─ made by b  (train)  the content was there already",
        "   └─ used d:v0  (dataset)  (above)",
    ]


def test_a_cycle_ends(connection: Connection, server: Lineage) -> None:
    """SEM-52: a run that uses its own output."""
    drawn = Drawn().version("m:v0").run("loop", depth=1).made("loop", "m:v0").used("loop", "m:v0")
    assert shown(connection, server, drawn) == [
        "m:v0  (model)",
        "├─ made by loop  (train)",
        "│  └─ used m:v0  (model)  (above)",
        "└─ used by loop  (train)",
        "   └─ made m:v0  (model)  (above)",
    ]


def test_groups_tombstones_hidden_ones_copies_and_other_places_are_visible(connection: Connection, server: Lineage) -> None:
    drawn = Drawn().version("m:v0").copy("c", 1).version("m:v7", project="lab", depth=2).run("gone", depth=1, deleted=True)
    drawn.run("outside", "", depth=1, external=True).hidden("h", RUN, 1).made("c", "m:v0").used("c", "m:v7")
    drawn.used("gone", "m:v0").used("outside", "m:v0", "m:v0").used("h", "m:v0")
    drawn.group("m:v0", DOWN, RUN, 12_345, type="evaluate")
    drawn.group("gone", DOWN, VERSION, 7, type="metrics", collection="teams/t/projects/vision/collections/report")
    drawn.group("m:v0", DOWN, RUN, 9, hidden=True)
    assert shown(connection, server, drawn) == [
        "m:v0  (model)",
        "├─ made by a copy",
        "│  └─ of lab/m:v7  (model)",
        "├─ used by gone  (train)  deleted 2026-03-01",
        "│  └─ made 7 versions of report  (metrics)",
        "├─ used by outside  (not recorded)",
        "├─ used by a run of a team that you may not read",
        "├─ used by 12,345 runs  (evaluate)",
        "└─ used by 9 runs of a team that you may not read",
    ]


def test_what_no_shown_edge_leads_to_is_told_with_its_distance(connection: Connection, server: Lineage) -> None:
    drawn = Drawn().version("m:v0").version("d:v0", "dataset", 2).version("raw:v3", "dataset", 4)
    assert shown(connection, server, drawn, "up") == [
        "m:v0  (model)",
        "├─ 2 steps up: d:v0  (dataset)",
        "└─ 4 steps up: raw:v3  (dataset)",
    ]


def test_a_chain_is_told_to_a_depth_that_a_terminal_holds(connection: Connection, server: Lineage) -> None:
    drawn = Drawn().version("m:v0")
    for step in range(1, 3000):
        drawn.run(f"r{step}", depth=2 * step - 1).version(f"m:v{step}", depth=2 * step)
        drawn.used(f"r{step}", f"m:v{step - 1}").made(f"r{step}", f"m:v{step}")
    lines = shown(connection, server, drawn, "down")
    assert len(lines) == DEEPEST + 1
    assert lines[-1].endswith("… goes on from here")
    assert "goes on" not in "".join(lines[:-1])


def test_names_of_other_people_neither_steer_a_terminal_nor_end_a_line(connection: Connection, server: Lineage) -> None:
    drawn = Drawn().version("m:v0").run("a\x1b[31m\nb", depth=1).made("a\x1b[31m\nb", "m:v0")
    lines = shown(connection, server, drawn)
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_a_truncated_answer_says_so_and_goes_on_when_asked(connection: Connection, server: Lineage, wire: Wire) -> None:
    """SEM-53."""
    whole, first = digits(), digits().truncated("3 nodes at most", "page-2")
    second = pb.StreamLineageResponse()
    for keep, give in ((first.part.nodes, second.nodes), (first.part.edges, second.edges)):
        give.extend(keep[3:] if keep is first.part.nodes else keep[2:])
        del keep[3 if keep is first.part.nodes else 2 :]
    server.streams = {"": [first.part], "page-2": [second]}
    graph = asked(connection)
    assert (len(graph.nodes), graph.truncation) == (3, "3 nodes at most")
    assert graph.tree().splitlines()[-1] == "… there is more: 3 nodes at most"
    assert json.loads(graph.to_json())["truncation"] == {"reason": "3 nodes at most"}
    assert 'label="there is more: 3 nodes at most"' in graph.to_dot()
    walk = graph.walk()
    assert [next(walk).name for _ in range(3)] == ["digits:v5", "train-1", "data:v0"]
    assert wire.calls.count("StreamLineage") == 1
    assert [node.name for node in walk] == ["eval-1", "report:v0"]
    assert (graph.truncation, graph.more(), wire.calls.count("StreamLineage")) == ("", False, 2)
    server.streams = {"": [whole.part]}
    assert asked(connection).to_json() == graph.to_json()


def test_an_answer_without_nodes_says_that_it_is_truncated_too(connection: Connection, server: Lineage) -> None:
    """SEM-53: that no way was found is not that there is none."""
    server.streams[""] = [Drawn().truncated("the walk met 9 nodes", "").part]
    assert asked(connection, "down").tree() == "… there is more: the walk met 9 nodes\n"


def test_a_truncated_answer_whose_rest_did_not_come_is_still_truncated(connection: Connection, server: Lineage) -> None:
    """SEM-53: or it would look whole."""
    server.streams[""] = [Drawn().version("m:v0").truncated("1 node was told").part]
    graph = asked(connection)
    with pytest.raises(ModelkeepError):
        graph.more()
    assert graph.truncation == "1 node was told"
    server.streams["on"] = [Drawn().run("train", depth=1).part]
    assert graph.more()
    assert not graph.truncation


def test_sources_that_lag_behind_say_so(connection: Connection, server: Lineage, caplog: pytest.LogCaptureFixture) -> None:
    """Once, also where they come in several answers."""
    first, second = digits().truncated("more"), Drawn().version("raw:v0", "dataset", 4)
    first.part.lagging = second.part.lagging = True
    server.streams = {"": [first.part], "on": [second.part]}
    api = LineageApi()
    api._connection = connection
    found = list(api.sources("teams/t/projects/vision/collections/digits/versions/v5"))
    assert found[-1].name == "raw:v0"
    (said,) = (record.message for record in caplog.records if "was read yet" in record.message)
    assert "digits/versions/v5 was read yet; ask again" in said


def test_a_stream_that_breaks_is_asked_for_again(connection: Connection, server: Lineage, wire: Wire) -> None:
    wire.calls.errors["StreamLineage"] = [ServiceUnavailable("restarting")]
    server.streams[""] = [digits().part]
    assert len(asked(connection).nodes) == 5
    assert wire.calls.count("StreamLineage") == 2


def test_a_group_is_told_one_by_one_as_it_is_wanted(connection: Connection, server: Lineage, wire: Wire) -> None:
    """SEM-55."""
    drawn = Drawn().version("m:v0").group("m:v0", DOWN, RUN, 4, type="evaluate", depth=1)
    server.streams[""] = [drawn.part]
    for number in range(4):
        token = "" if number < 2 else "p2"
        page = server.group_pages.setdefault(token, pb.ListGroupNodesResponse(next_page_token="" if token else "p2"))
        link = page.links.add()
        link.node.id, link.node.kind, link.node.display_name, link.node.depth = 10 + number, RUN, f"e{number}", 1
        link.edge.source_id, link.edge.target_id, link.edge.kind = 1, 10 + number, graph_pb2.EDGE_KIND_USED
    graph = asked(connection)
    links = graph.expand(graph.groups[0])
    assert [next(links).node.name, next(links).node.name] == ["e0", "e1"]
    assert (wire.calls.count("ListGroupNodes"), len(graph.groups), len(graph.nodes)) == (1, 1, 3)
    assert [link.node.name for link in links] == ["e2", "e3"]
    assert (len(graph.groups), len(graph.nodes), len(graph.edges)) == (0, 5, 4)


def test_a_group_whose_node_a_filter_left_out_stands_apart(connection: Connection, server: Lineage) -> None:
    """Whether it is opened or not: no edge leads to what is not here, and what comes out of it is as far away as it was."""
    drawn = Drawn().version("m:v0").version("left-out:v0", depth=2).group("left-out:v0", UP, RUN, 1, type="train", depth=3)
    absent = drawn.part.nodes.pop().id
    server.streams[""] = [drawn.part]
    link = server.group_pages.setdefault("", pb.ListGroupNodesResponse()).links.add()
    link.node.id, link.node.kind, link.node.display_name, link.node.depth = 10, RUN, "t", 1
    link.edge.source_id, link.edge.target_id, link.edge.kind = 10, absent, graph_pb2.EDGE_KIND_PRODUCED
    graph = asked(connection, "up")
    assert not any(f"n{absent}" in line for line in graph.to_dot().splitlines())
    assert graph.tree().splitlines()[1:] == ["└─ 3 steps up: 1 runs  (train)"]
    assert [link.node.depth for link in graph.expand(graph.groups[0])] == [3]
    assert graph.tree().splitlines()[1:] == ["└─ 3 steps up: t"]
    assert graph.to_dict()["edges"] == []


def test_graphviz_gets_strings_that_nobody_can_break_out_of(connection: Connection, server: Lineage) -> None:
    name = 'evil"]; "x\\'
    drawn = Drawn().version("m:v0").run(name, depth=1).hidden("h", VERSION, 2).made(name, "m:v0").used(name, "h", 'a"b')
    drawn.group("m:v0", UP, RUN, 6, type="train")
    server.streams[""] = [drawn.part]
    lines = asked(connection, "up").to_dot().splitlines()
    assert lines[0] == "digraph lineage {"
    assert lines[-1] == "}"
    assert r'  n2 [label="evil\"]; \"x\\\ntrain", shape=ellipse' in "\n".join(lines)
    assert '  n3 -> n2 [label="a\\"b"];' in lines
    assert '  n3 [label="no access", shape=box, style=dashed, color=gray];' in lines
    assert '  g0 [label="6 runs\\ntrain", shape=box3d];' in lines
    assert "  g0 -> n1;" in lines


def test_graphviz_gets_nothing_that_no_svg_may_hold(connection: Connection, server: Lineage) -> None:
    name = "\x1b[31mred\x07\r\n\u202e"
    server.streams[""] = [Drawn().version("m:v0").run(name, depth=1).made(name, "m:v0").part]
    lines = asked(connection, "up").to_dot().splitlines()
    assert all(line.isprintable() for line in lines)
    assert any("[31mred" in line for line in lines)


def test_json_has_all_of_it(connection: Connection, server: Lineage) -> None:
    server.streams[""] = [digits().part]
    data = json.loads(asked(connection).to_json())
    assert set(data) == {"root", "direction", "nodes", "edges", "groups", "truncation", "lagging"}
    assert data["nodes"][0] == {
        "id": 1,
        "kind": "version",
        "name": "digits:v5",
        "resource_name": "teams/t/projects/vision/collections/digits/versions/v5",
        "type": "model",
        "create_time": "2026-03-01T12:00:00Z",
        "delete_time": "",
        "depth": 0,
        "hidden": False,
        "external": False,
        "version_uid": "",
        "digest": "",
    }
    used = {"source": 3, "target": 2, "kind": "used", "alias_text": "data:latest", "deduplicated": False}
    assert data["edges"][1] == used | {"time": "2026-03-01T12:00:00Z"}


def test_a_node_leads_to_what_it_is_and_says_when_it_cannot(connection: Connection, server: Lineage) -> None:
    drawn = digits().hidden("h", RUN, 1).copy("c", 1)
    server.streams[""] = [drawn.part]
    nodes = {node.name or node.id: node for node in asked(connection).nodes.values()}
    for key, ask in (("train-1", "version"), ("digits:v5", "run"), (drawn.id("h"), "run"), (drawn.id("c"), "run")):
        with pytest.raises(InvalidArgument, match=f"not a {ask}"):
            getattr(nodes[key], ask)()
    api = LineageApi()
    api._connection = connection
    for key, says in (("h", "of a team that you may not read"), ("c", "a copy")):
        with pytest.raises(InvalidArgument, match=f"the node is {says}, and has no name"):
            api.lineage(nodes[drawn.id(key)])
