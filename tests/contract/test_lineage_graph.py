"""The graph from outside: log and use through MetadataService by stubs, then ask LineageService (SEM-11, 20, 47, 52 to 56)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from modelkeep._status import from_rpc_error
from modelkeep.api.lineage.v1 import graph_pb2 as graph_pb
from modelkeep.api.lineage.v1 import lineage_service_pb2 as lineage_pb
from modelkeep.api.lineage.v1 import lineage_service_pb2_grpc as lineage_rpc
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1.draft_pb2 import Draft
from modelkeep.api.metadata.v1.entry_pb2 import Entry, Segment
from modelkeep.errors import VersionNotFound

from tests.contract.test_metadata import Client, connected, reason
from tests.suites import Suite

UP, DOWN = graph_pb.DIRECTION_UPSTREAM, graph_pb.DIRECTION_DOWNSTREAM


@dataclass
class Told:
    """An answer of StreamLineage or StreamPaths, all parts in one."""

    nodes: list[graph_pb.Node] = field(default_factory=list)
    edges: list[graph_pb.Edge] = field(default_factory=list)
    groups: list[graph_pb.Group] = field(default_factory=list)
    truncation: graph_pb.Truncation | None = None
    lagging: bool = False

    def add(self, part: Any) -> None:
        known = {node.id for node in self.nodes} | {node.id for node in part.nodes}
        assert all({edge.source_id, edge.target_id} <= known for edge in part.edges), "nodes come before their edges"
        self.nodes += part.nodes
        self.edges += part.edges
        self.groups += getattr(part, "groups", ())
        self.truncation = part.truncation if part.HasField("truncation") else None
        self.lagging = part.lagging

    def names(self) -> list[str]:
        return [called(node) for node in self.nodes]

    def pairs(self) -> set[tuple[str, str]]:
        known = {node.id: called(node) for node in self.nodes}
        return {(known[edge.source_id], known[edge.target_id]) for edge in self.edges}


def called(node: graph_pb.Node) -> str:
    return "?" if node.hidden else node.name.rpartition("/")[2] if node.kind == graph_pb.NODE_KIND_RUN else node.display_name


class Asker:
    """A client of both services."""

    def __init__(self, client: Client, lineage: lineage_rpc.LineageServiceStub) -> None:
        self.client = client
        self._lineage = lineage

    def run(self, name: str) -> str:
        return f"{self.client.parent}/runs/{name}"

    def version(self, short: str) -> str:
        collection, number = short.split(":")
        return f"{self.client.parent}/collections/{collection}/versions/{number}"

    def made(self, collection: str, by: str = "", data: bytes = b"", type_: str = "model", *aliases: str) -> str:
        """Log a version, as any client does."""
        name, content = f"{self.client.parent}/collections/{collection}", data or uuid4().bytes
        draft = Draft(collection=name, type=type_)
        made = self.client.call("CreateDraft", pb.CreateDraftRequest(parent=self.client.parent, draft=draft))
        digest = self.client.upload(content)
        entry = Entry(path="x", digest=digest, size_bytes=len(content), segments=[Segment(chunk=digest, length=len(content))])
        requests = iter([pb.AddEntriesRequest(draft=made.name), pb.AddEntriesRequest(entries=[entry])])
        self.client.metadata.AddEntries(requests, metadata=self.client.auth, timeout=60)
        commit = pb.CommitDraftRequest(name=made.name, aliases=aliases, run=by and self.run(by))
        committed = self.client.call("CommitDraft", commit)
        return committed.version.name

    def used(self, version: str, by: str, words: str = "") -> None:
        self.client.call("RecordUse", pb.RecordUseRequest(version=version, run=self.run(by), alias_text=words))

    def call(self, method: str, request: Message) -> Any:
        try:
            answer = getattr(self._lineage, method)(request, metadata=self.client.auth, timeout=60)
            return list(answer) if method.startswith("Stream") else answer
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def lineage(self, name: str, **more: Any) -> Told:
        told = Told()
        for part in self.call("StreamLineage", lineage_pb.StreamLineageRequest(name=name, **more)):
            told.add(part)
        assert not told.lagging
        return told

    def paths(self, source: str, target: str, **more: Any) -> Told:
        told = Told()
        for part in self.call("StreamPaths", lineage_pb.StreamPathsRequest(source=source, target=target, **more)):
            told.add(part)
        return told

    def neighbors(self, parent: str, direction: graph_pb.Direction, **more: Any) -> list[graph_pb.Link]:
        links, token = [], ""
        while True:
            request = lineage_pb.ListNeighborsRequest(parent=parent, direction=direction, page_token=token, **more)
            page = self.call("ListNeighbors", request)
            assert not page.lagging
            links += page.links
            token = page.next_page_token
            if not token:
                return links


@contextmanager
def asking(suite: Suite, key: str) -> Iterator[Asker]:
    address = (suite.lineage_url or suite.url).removeprefix("grpc://")
    with connected(suite, key) as client, grpc.insecure_channel(address) as channel:
        yield Asker(client, lineage_rpc.LineageServiceStub(channel))


@pytest.fixture
def asker(suite: Suite) -> Iterator[Asker]:
    with asking(suite, suite.api_key) as found:
        yield found


@pytest.fixture
def story(asker: Asker) -> Mapping[str, str]:
    """A data set, a training run that uses it and makes a model, and two evaluations that use both."""
    data = asker.made("data", by="ingest", type_="dataset")
    asker.used(data, "train", "data:latest")
    model = asker.made("digits", "train", b"", "model", "best")
    for name in ("eval-a", "eval-b"):
        asker.used(model, name, "digits:best")
        asker.used(data, name)
    predictions = asker.made("predictions", by="eval-a", type_="predictions")
    return {"data": data, "model": model, "predictions": predictions}


def test_what_was_just_logged_is_in_the_graph_with_its_words(asker: Asker, story: Mapping[str, str]) -> None:
    """SEM-20, 39, 52: nobody told lineage anything, and the question waits for the events."""
    told = asker.lineage(story["predictions"], direction=UP)
    assert told.names() == ["predictions:v0", "eval-a", "data:v0", "digits:v0", "ingest", "train"]
    assert told.pairs() == {
        ("ingest", "data:v0"),
        ("data:v0", "train"),
        ("train", "digits:v0"),
        ("data:v0", "eval-a"),
        ("digits:v0", "eval-a"),
        ("eval-a", "predictions:v0"),
    }
    assert {edge.alias_text for edge in told.edges} == {"", "data:latest", "digits:best"}
    root, run = told.nodes[:2]
    assert (root.name, root.type, root.depth, root.external) == (story["predictions"], "predictions", 0, False)
    assert root.digest.startswith("sha256:")
    assert root.version_uid
    assert (run.name, run.kind, run.external, run.depth) == (asker.run("eval-a"), graph_pb.NODE_KIND_RUN, True, 1)
    down = asker.lineage(story["data"], direction=DOWN, max_depth=1)
    assert set(down.names()) == {"data:v0", "train", "eval-a", "eval-b"}
    both = asker.lineage(asker.run("train"))
    assert both.names()[:3] == ["train", "data:v0", "digits:v0"]


def test_a_second_producer_of_the_same_content(asker: Asker) -> None:
    """SEM-11."""
    content = uuid4().bytes
    first, second = asker.made("digits", by="one", data=content), asker.made("digits", by="two", data=content)
    assert first == second
    links = asker.neighbors(first, UP)
    assert [(called(link.node), link.edge.deduplicated) for link in links] == [("two", True), ("one", False)]


def test_deleted_versions_stay_as_tombstones(asker: Asker, story: Mapping[str, str]) -> None:
    """SEM-47."""
    asker.client.call("DeleteVersion", pb.DeleteVersionRequest(name=story["model"], delete_aliases=True))
    told = asker.lineage(story["data"], direction=DOWN)
    deleted = {node.display_name for node in told.nodes if node.HasField("delete_time")}
    assert deleted == {"digits:v0"}
    assert "predictions:v0" in told.names()
    asker.client.call("RestoreVersion", pb.RestoreVersionRequest(name=story["model"]))
    assert not any(node.HasField("delete_time") for node in asker.lineage(story["data"], direction=DOWN).nodes)


def test_names_are_those_of_now(asker: Asker, story: Mapping[str, str]) -> None:
    """A renamed or moved collection keeps its past."""
    collection = story["model"].rpartition("/versions/")[0]
    renamed = asker.client.call("RenameCollection", pb.RenameCollectionRequest(name=collection, new_collection_id="numerals"))
    told = asker.lineage(asker.run("train"), direction=DOWN)
    assert "numerals:v0" in told.names()
    other = f"{asker.client.team}/projects/p-{uuid4().hex[:12]}"
    moved = asker.client.call("MoveCollection", pb.MoveCollectionRequest(name=renamed.name, new_parent=other))
    told = asker.lineage(f"{moved.name}/versions/v0", direction=UP)
    assert told.nodes[0].name == f"{moved.name}/versions/v0"
    assert {"train", "data:v0", "ingest"} <= set(told.names())
    assert reason(lambda: asker.lineage(story["model"])) == "VERSION_NOT_FOUND"


def test_a_copy_comes_from_its_origin(asker: Asker, story: Mapping[str, str]) -> None:
    """The graph stays bipartite (SEM-52): between the two stands a run that nobody began."""
    target = f"{asker.client.parent}/collections/released"
    request = pb.CopyVersionRequest(parent=target, source=story["model"])
    copied = asker.client.call("CopyVersion", request)
    told = asker.lineage(copied.version.name, direction=UP)
    assert [node.type for node in told.nodes[:3]] == ["model", "copy", "model"]
    assert told.nodes[1].name == ""
    assert "data:v0" in told.names()


def test_large_fans_are_groups_that_open_page_by_page(asker: Asker) -> None:
    """SEM-53, 55: from 5 up, and never otherwise."""
    data = asker.made("data", type_="dataset")
    for i in range(4):
        asker.used(data, f"sweep-{i}")
    assert len(asker.lineage(data).nodes) == 5
    asker.used(data, "sweep-4")
    told = asker.lineage(data)
    assert told.names() == ["data:v0"]
    (group,) = told.groups
    assert (group.node_count, group.node_id, group.direction) == (5, told.nodes[0].id, DOWN)
    assert (group.project, group.collection, group.type) == (asker.client.parent, "", "")
    found, token = [], ""
    while True:
        request = lineage_pb.ListGroupNodesRequest(group=group.token, page_size=2, page_token=token)
        page = asker.call("ListGroupNodes", request)
        found += [called(link.node) for link in page.links]
        token = page.next_page_token
        if not token:
            break
    assert found == [f"sweep-{i}" for i in (4, 3, 2, 1, 0)]
    assert len(asker.lineage(data, group_from=-1).nodes) == 6
    assert reason(lambda: asker.call("ListGroupNodes", lineage_pb.ListGroupNodesRequest(group="x"))) == "INVALID_ARGUMENT"


def test_a_truncated_answer_says_so_and_goes_on(asker: Asker, story: Mapping[str, str]) -> None:
    """SEM-53: what was logged meanwhile does not change what follows."""
    whole = asker.lineage(story["data"])
    told, continuation = Told(), ""
    while True:
        request = {"max_nodes": 2, "continuation": continuation}
        for part in asker.call("StreamLineage", lineage_pb.StreamLineageRequest(name=story["data"], **request)):
            told.add(part)
        if told.truncation is None:
            break
        assert "2 nodes" in told.truncation.reason
        continuation = told.truncation.continuation
        asker.used(story["data"], f"meanwhile-{uuid4().hex[:6]}")
    assert told.names() == whole.names()
    assert told.pairs() == whole.pairs()
    assert len(told.edges) == len(whole.edges)
    other = {"name": story["model"], "continuation": continuation}
    assert reason(lambda: asker.lineage(**other)) == "PAGE_TOKEN_INVALID"


def test_filters_show_less_and_walk_through_all(asker: Asker, story: Mapping[str, str]) -> None:
    """The training data behind a model, whatever lies between."""
    only = lineage_pb.NodeFilter(types=["dataset"])
    told = asker.lineage(story["predictions"], direction=UP, filter=only)
    assert told.names() == ["predictions:v0", "data:v0"]
    runs = lineage_pb.NodeFilter(kind=graph_pb.NODE_KIND_RUN)
    told = asker.lineage(story["predictions"], direction=UP, filter=runs)
    assert told.names() == ["predictions:v0", "eval-a", "ingest", "train"]
    elsewhere = lineage_pb.NodeFilter(projects=[f"{asker.client.team}/projects/nowhere"])
    assert asker.lineage(story["predictions"], filter=elsewhere).names() == ["predictions:v0"]


def test_as_of_a_time(asker: Asker) -> None:
    """SEM-56."""
    data = asker.made("data", by="ingest", type_="dataset")
    asker.used(data, "early")
    (early,) = asker.neighbors(data, DOWN)
    asker.used(data, "late")
    then = early.edge.edge_time
    assert asker.lineage(data, as_of_time=then).names() == ["data:v0", "ingest", "early"]
    assert [called(link.node) for link in asker.neighbors(data, DOWN, as_of_time=then)] == ["early"]
    assert set(asker.lineage(data).names()) == {"data:v0", "ingest", "early", "late"}


def test_what_did_not_exist_then_is_not_found(asker: Asker) -> None:
    """SEM-56: whatever is asked about it, and with when it came."""
    data, long_ago = asker.made("data", by="ingest", type_="dataset"), Timestamp(seconds=1)
    with pytest.raises(VersionNotFound, match="data:v0 did not exist on 1970-01-01T00:00:01Z: it was created on 20"):
        asker.lineage(data, as_of_time=long_ago)
    common = lineage_pb.ListCommonAncestorsRequest(first=data, second=data, as_of_time=long_ago)
    impact = lineage_pb.GetImpactRequest(name=asker.run("ingest"), as_of_time=long_ago)
    assert reason(lambda: asker.call("ListCommonAncestors", common)) == "VERSION_NOT_FOUND"
    assert reason(lambda: asker.call("GetImpact", impact)) == "RUN_NOT_FOUND"
    (link,) = asker.neighbors(data, UP)
    assert asker.lineage(data, direction=UP, as_of_time=link.edge.edge_time).names() == ["data:v0", "ingest"]


def test_paths_common_ancestors_and_impact(asker: Asker, story: Mapping[str, str]) -> None:
    """Questions people ask, each one call."""
    told = asker.paths(story["data"], story["predictions"])
    assert set(told.names()) == {"data:v0", "train", "digits:v0", "eval-a", "predictions:v0"}
    assert told.names()[0] == "data:v0"
    assert asker.paths(story["predictions"], story["data"]).names() == []
    request = lineage_pb.ListCommonAncestorsRequest(first=story["model"], second=story["predictions"])
    nearest = asker.call("ListCommonAncestors", request).nodes
    assert {called(node): node.depth for node in nearest} == {"train": 4, "data:v0": 4, "ingest": 6}
    assert called(nearest[-1]) == "ingest"
    impact = asker.call("GetImpact", lineage_pb.GetImpactRequest(name=story["data"]))
    assert (impact.version_count, impact.run_count, impact.alias_count) == (2, 3, 1)
    assert list(impact.aliases) == [f"{asker.client.parent}/collections/digits/aliases/best"]
    assert {(group.collection.rpartition("/")[2], group.type): group.node_count for group in impact.groups} == {
        ("", ""): 3,
        ("digits", "model"): 1,
        ("predictions", "predictions"): 1,
    }


def test_neighbors_by_type_in_pages(asker: Asker, story: Mapping[str, str]) -> None:
    """Newest first; the token belongs to its question."""
    eval_a = asker.run("eval-a")
    assert [called(link.node) for link in asker.neighbors(eval_a, UP, page_size=1)] == ["data:v0", "digits:v0"]
    assert [called(link.node) for link in asker.neighbors(eval_a, UP, types=["dataset"])] == ["data:v0"]
    assert [called(link.node) for link in asker.neighbors(eval_a, DOWN)] == ["predictions:v0"]
    both = lineage_pb.ListNeighborsRequest(parent=eval_a, direction=graph_pb.DIRECTION_BOTH)
    assert reason(lambda: asker.call("ListNeighbors", both)) == "INVALID_ARGUMENT"


def test_a_run_that_uses_what_it_made_ends(asker: Asker) -> None:
    """SEM-52: cycles are legal, and walks end."""
    model = asker.made("digits", by="loop")
    asker.used(model, "loop")
    assert asker.lineage(model, direction=UP).names() == ["digits:v0", "loop"]
    assert set(asker.lineage(model).names()) == {"digits:v0", "loop"}
    assert asker.call("GetImpact", lineage_pb.GetImpactRequest(name=model)).run_count == 1


def test_nodes_of_other_teams_are_opaque(suite: Suite, asker: Asker) -> None:
    """SEM-54, M-AUTHZ-1: a way through them does not break, and nothing is told of them."""
    rival = f"rival-{uuid4().hex[:8]}"
    data = asker.made("data", by="ingest", type_="dataset")
    with asking(suite, suite.key(rival, readable_teams=("default",))) as theirs:
        theirs.used(data, "secret-run", "their words")
        model = theirs.made("secret-model", by="secret-run")
        asker.used(data, "ours")
        told = asker.lineage(data, direction=DOWN)
        assert sorted(told.names()) == ["?", "?", "data:v0", "ours"]
        hidden = [node for node in told.nodes if node.hidden]
        bare = [graph_pb.Node(id=node.id, kind=node.kind, hidden=True, depth=node.depth) for node in hidden]
        assert hidden == bare
        assert {edge.alias_text for edge in told.edges} == {""}
        assert sorted(theirs.lineage(data, direction=DOWN).names()) == ["data:v0", "ours", "secret-model:v0", "secret-run"]
        for method, request in (
            ("StreamLineage", lineage_pb.StreamLineageRequest(name=model)),
            ("GetImpact", lineage_pb.GetImpactRequest(name=model)),
            ("ListNeighbors", lineage_pb.ListNeighborsRequest(parent=model, direction=UP)),
            ("StreamPaths", lineage_pb.StreamPathsRequest(source=data, target=model)),
            ("ListCommonAncestors", lineage_pb.ListCommonAncestorsRequest(first=data, second=model)),
        ):
            assert reason(lambda m=method, r=request: asker.call(m, r)) == "PERMISSION_DENIED"
        typed = lineage_pb.NodeFilter(types=["model"])
        assert asker.lineage(data, direction=DOWN, filter=typed).names() == ["data:v0"]
        impact = asker.call("GetImpact", lineage_pb.GetImpactRequest(name=data))
        secret = [group for group in impact.groups if group.hidden]
        assert [(group.node_count, group.collection, group.project, group.type) for group in secret] == [(1, "", "", "")] * 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("teams/default/projects/p/runs/none", "RUN_NOT_FOUND"),
        ("teams/default/projects/p/collections/c/versions/v1", "VERSION_NOT_FOUND"),
        ("teams/default/projects/p/collections/c/versions/latest", "INVALID_NAME"),
        ("teams/default/projects/p/collections/c", "INVALID_NAME"),
        ("teams/default", "INVALID_NAME"),
        ("", "INVALID_NAME"),
    ],
)
def test_what_is_not_there_says_so(asker: Asker, name: str, expected: str) -> None:
    assert reason(lambda: asker.lineage(name)) == expected
    assert reason(lambda: asker.call("GetImpact", lineage_pb.GetImpactRequest(name=name))) == expected


@pytest.mark.parametrize(
    "more",
    [
        {"max_depth": -1},
        {"max_nodes": -1},
        {"direction": 9},
        {"as_of_time": Timestamp(seconds=-1)},
        {"filter": lineage_pb.NodeFilter(kind=7)},
        {"filter": lineage_pb.NodeFilter(types=["t"] * 101)},
        {"filter": lineage_pb.NodeFilter(projects=["nonsense"])},
        {"continuation": "nonsense"},
    ],
)
def test_nonsense_is_refused(asker: Asker, story: Mapping[str, str], more: Mapping[str, Any]) -> None:
    expected = {"INVALID_ARGUMENT", "INVALID_NAME", "LIMIT_EXCEEDED", "PAGE_TOKEN_INVALID"}
    assert reason(lambda: asker.lineage(story["data"], **more)) in expected
