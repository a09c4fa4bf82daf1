"""The graph through the SDK, in every topology: what made what; hidden, deleted, grouped, truncated; as it was then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import modelkeep
import pytest
from modelkeep.address import format_moment

from tests.contract.sdk import artifact, some
from tests.suites import Suite


@pytest.fixture
def api(client_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> modelkeep.Api:
    """A client of a project of its own."""
    for name in [name for name in client_env if name.startswith("MODELKEEP_")]:
        monkeypatch.setenv(name, client_env[name])
    return modelkeep.Api()


@dataclass(frozen=True)
class Story:
    """`data:v0` was used by `train`, which made `net:v0`; `eval-0` and `eval-1` used both, and made a report each."""

    folder: Path
    train: modelkeep.Run
    evals: list[modelkeep.Run]

    def log(self, run: modelkeep.Run, name: str, type_: str, aliases: tuple[str, ...] = ()) -> modelkeep.Version:
        return run.log_artifact(artifact(self.folder / uuid4().hex, {"f": some()}, name, type_), aliases=aliases)

    def evaluate(self, number: int) -> modelkeep.Run:
        with modelkeep.init(name=f"eval-{number}", job_type="evaluate") as run:
            run.use_artifact("net:best")
            run.use_artifact("data:latest")
            self.log(run, "report", "metrics")
        return run


@pytest.fixture
def story(api: modelkeep.Api, tmp_path: Path) -> Story:
    api.log_artifact(artifact(tmp_path / "data", {"f": some()}, "data", "dataset"))
    with modelkeep.init(name="train", job_type="train", config={"lr": 0.1}) as train:
        train.use_artifact("data:latest")
        made = Story(tmp_path, train, [])
        made.log(train, "net", "model", ("best",))
    made.evals.extend(made.evaluate(number) for number in range(2))
    return made


def names(graph: modelkeep.Graph) -> list[str]:
    return sorted(node.name for node in graph.nodes.values())


def edges(graph: modelkeep.Graph) -> set[tuple[str, str, str, str]]:
    at = graph.nodes
    return {(at[edge.source].name, edge.kind, at[edge.target].name, edge.alias_text) for edge in graph.edges}


def test_what_made_it_and_what_it_made(api: modelkeep.Api, story: Story) -> None:
    """SEM-20, 39, 52."""
    up = api.lineage("net:best", direction="up")
    assert [(node.name, node.kind, node.type, node.depth) for node in up.nodes.values()] == [
        ("net:v0", "version", "model", 0),
        ("train", "run", "train", 1),
        ("data:v0", "version", "dataset", 2),
    ]
    assert edges(up) == {("data:v0", "used", "train", "data:latest"), ("train", "produced", "net:v0", "")}
    assert (up.truncation, up.lagging, up.groups) == ("", False, ())
    both = api.lineage("net:best")
    assert names(both) == ["data:v0", "eval-0", "eval-1", "net:v0", "report:v0", "report:v1", "train"]
    assert ("net:v0", "used", "eval-0", "net:best") in edges(both)
    assert names(api.lineage("net:v0", depth=1)) == ["eval-0", "eval-1", "net:v0", "train"]
    assert names(api.lineage(story.train, direction="down", depth=1)) == ["net:v0", "train"]
    assert names(api.lineage(story.train.id, direction="up")) == ["data:v0", "train"]
    assert api.lineage("net:best").tree().splitlines()[0].startswith("net:v0  (model)  as net:best  20")


def test_what_is_directly_beside(api: modelkeep.Api, story: Story) -> None:
    net = api.artifact("net:best")
    assert [(link.node.name, link.edge.alias_text) for link in net.used_by()] == [
        ("eval-1", "net:best"),
        ("eval-0", "net:best"),
    ]
    assert [link.node.run().resource_name for link in net.produced_by()] == [story.train.resource_name]
    assert [link.node.name for link in net.used_by("train")] == []
    first = api.run(story.evals[0].id)
    assert {link.node.name for link in first.used()} == {"net:v0", "data:v0"}
    assert [link.node.name for link in first.used(type="dataset")] == ["data:v0"]
    assert [link.node.version().name for link in first.produced()] == ["report:v0"]
    assert [link.node.name for link in api.neighbors("data", "down", types=["train"])] == ["train"]


def test_each_question_is_one_call(api: modelkeep.Api, story: Story) -> None:
    assert sorted((node.name, node.depth) for node in api.sources("report:v1")) == [("data:v0", 2), ("net:v0", 2)]
    assert [node.version().digest for node in api.sources("net:best", type="dataset")] == [api.artifact("data").digest]
    common = list(api.common_ancestors("report:v0", "report:v1", type="dataset"))
    assert [(node.name, node.depth) for node in common] == [("data:v0", 4)]
    assert [node.name for node in api.common_ancestors("report:v0", "report:v1", kind="run")] == ["train"]
    ways = api.paths("data:v0", "report:v0")
    assert names(ways) == ["data:v0", "eval-0", "net:v0", "report:v0", "train"]
    assert ways.root.name == "data:v0"
    none = api.paths("report:v0", "data:v0")
    assert (len(none.nodes), none.tree(), none.to_dict()["root"]) == (0, "", None)
    impact = api.impact("data:v0")
    assert (impact.version_count, impact.run_count, impact.truncation) == (3, 3, "")
    assert impact.alias_count >= 1
    assert any(name.endswith("/collections/net/aliases/best") for name in impact.aliases)
    assert {(group.type, group.node_count) for group in impact.groups} == {
        ("model", 1),
        ("metrics", 2),
        ("train", 1),
        ("evaluate", 2),
    }


def test_nodes_are_chosen_and_the_walk_goes_through_all(api: modelkeep.Api, story: Story, project: str) -> None:
    assert names(api.lineage("report:v0", direction="up", types=["dataset"])) == ["data:v0", "report:v0"]
    assert names(api.lineage("report:v0", direction="up", kind="run")) == ["eval-0", "report:v0", "train"]
    assert names(api.lineage("report:v0", direction="up", projects=["elsewhere"])) == ["report:v0"]
    assert len(names(api.lineage("report:v0", direction="up", projects=[project]))) == 5
    tree = api.lineage("report:v0", direction="up", types=["dataset"]).tree()
    assert "steps up: data:v0  (dataset)" in tree


def test_the_graph_as_it_was(api: modelkeep.Api, story: Story) -> None:
    """SEM-56."""
    first = min(link.edge.time for link in api.artifact("net:best").used_by())
    before = api.lineage("net:v0", as_of=first - timedelta(microseconds=1))
    assert names(before) == ["data:v0", "net:v0", "train"]
    assert names(api.lineage("net:v0", as_of=first.isoformat(), direction="down", depth=1)) == ["eval-0", "net:v0"]
    assert list(api.neighbors("net:v0", "down", as_of=first - timedelta(microseconds=1))) == []
    with pytest.raises(modelkeep.InvalidArgument, match="time zone"):
        api.lineage("net:v0", as_of=datetime(2026, 3, 1))  # noqa: DTZ001 - that is the fault
    with pytest.raises(modelkeep.InvalidAddress):
        api.lineage("net:v0", as_of="yesterday")


def test_a_truncated_answer_goes_on(api: modelkeep.Api, story: Story) -> None:
    """SEM-53."""
    whole = api.lineage("net:best")
    cut = api.lineage("net:best", max_nodes=3)
    assert len(cut.nodes) <= 3
    assert cut.truncation
    walked = [node.name for node in cut.walk()]
    assert sorted(walked) == names(whole)
    assert (cut.truncation, edges(cut)) == ("", edges(whole))


@pytest.mark.parametrize("asked", [{"depth": 10**11}, {"depth": -1}, {"max_nodes": 2**31}, {"group_from": -(10**11)}], ids=repr)
def test_a_number_that_no_message_holds_is_refused_by_its_name(api: modelkeep.Api, asked: dict[str, int]) -> None:
    with pytest.raises(modelkeep.InvalidArgument, match=f"{next(iter(asked))} is -?[0-9,]+; .* to 2,147,483,647"):
        api.lineage("net:v0", **asked)
    with pytest.raises(modelkeep.InvalidArgument, match="max_nodes"):
        api.paths("net:v0", "net:v1", max_nodes=10**11)


def test_large_fans_are_groups_that_can_be_expanded(api: modelkeep.Api, story: Story) -> None:
    """SEM-55."""
    for number in range(2, 6):
        story.evaluate(number)
    graph = api.lineage("net:best", direction="down")
    assert [(group.kind, group.type, group.node_count, group.direction) for group in graph.groups] == [
        ("run", "evaluate", 6, "down")
    ]
    assert names(graph) == ["net:v0"]
    assert [link.node.name for link in graph.expand(graph.groups[0])] == [f"eval-{number}" for number in reversed(range(6))]
    assert (len(graph.nodes), graph.groups) == (7, ())
    assert len(api.lineage("net:best", direction="down", group_from=-1).nodes) == 13
    assert len(list(api.artifact("net:best").used_by())) == 6


def test_what_is_deleted_stays_as_a_tombstone(api: modelkeep.Api, story: Story) -> None:
    """SEM-47, 51."""
    api.artifact("report:v0").delete()
    api.delete_run(story.train.id, reason="a mistake")
    graph = api.lineage("report:v0", direction="up")
    gone = {node.name for node in graph.nodes.values() if node.delete_time}
    assert gone == {"report:v0", "train"}
    assert names(graph) == ["data:v0", "eval-0", "net:v0", "report:v0", "train"]
    assert "deleted" in graph.tree().splitlines()[0]
    with pytest.raises(modelkeep.RunDeleted):
        api.run(story.train.id)
    assert api.artifact("net:best").name == "net:v0"
    assert names(api.lineage(story.train.id, direction="down", depth=1)) == ["net:v0", "train"]


def test_what_an_alias_pointed_to_then_may_be_deleted_since(api: modelkeep.Api, story: Story) -> None:
    """SEM-47, 56: which data was behind it can be asked all the same, by each way to say which one it was."""
    used = min(link.edge.time for link in api.artifact("net:best").used_by())
    then = f"net:best@{format_moment(used)}"
    api.artifact("net:best").delete(delete_aliases=True)
    with pytest.raises(modelkeep.VersionDeleted):
        api.artifact(then)
    for address in (then, f"net@{format_moment(used)}", "net:v0"):
        assert [node.name for node in api.sources(address, type="dataset")] == ["data:v0"]
        assert api.lineage(address).root.delete_time is not None


def test_a_run_that_nobody_recorded_is_in_the_graph(api: modelkeep.Api, story: Story) -> None:
    version = api.artifact("net:best")
    run = f"teams/{version.team}/projects/{version.project}/runs/job-7"
    version.record_use(run, "nightly job", "net:best")
    (link,) = (link for link in version.used_by() if link.node.resource_name == run)
    assert (link.node.name, link.node.external) == ("nightly job", True)
    assert names(api.lineage("job-7", direction="up", depth=1)) == ["net:v0", "nightly job"]
    with pytest.raises(modelkeep.RunNotFound):
        api.run("job-7")


def test_a_version_with_two_producers_and_a_copy(api: modelkeep.Api, story: Story, project: str) -> None:
    """SEM-11: the second run that logs the same content produced it too."""
    again = artifact(story.folder / "same", {"f": b"the same"}, "twin")
    with modelkeep.init(name="one") as one:
        one.log_artifact(again)
    with modelkeep.init(name="two") as two:
        two.log_artifact(artifact(story.folder / "same2", {"f": b"the same"}, "twin"))
    links = {link.node.name: link.edge.deduplicated for link in api.artifact("twin").produced_by()}
    assert links == {"one": False, "two": True}
    api.copy("net:best", f"{project}-2/net")
    copied = api.lineage(f"{project}-2/net:v0", direction="up")
    assert [node.name or node.type for node in copied.nodes.values()] == ["net:v0", "copy", "net:v0", "train", "data:v0"]
    assert copied.tree().splitlines()[1].startswith("└─ made by a copy")
    assert copied.tree().splitlines()[2].startswith(f"   └─ of {project}/net:v0  (model)")


def test_nodes_of_other_teams_are_hidden_and_no_way_breaks(api: modelkeep.Api, story: Story, suite: Suite) -> None:
    """SEM-54."""
    net = api.artifact("net:best")
    other = f"team-{uuid4().hex[:8]}"
    theirs = modelkeep.Api(api_key=suite.key(other, readable_teams=(net.team,)), team=other)
    theirs.copy(f"{net.team}/{net.project}/net:best", f"{net.project}/net")
    mine = api.lineage("net:best", direction="down", types=[])
    hidden = [node for node in mine.nodes.values() if node.hidden]
    assert hidden
    assert {(node.name, node.resource_name, node.digest) for node in hidden} == {("", "", "")}
    assert "of a team that you may not read" in mine.tree()
    seen = theirs.lineage(f"{net.project}/net:v0", direction="up")
    assert [node.name for node in seen.nodes.values() if node.kind == "version"] == ["net:v0", "net:v0", "data:v0"]


def test_wrong_words_are_answered_with_what_is_meant(api: modelkeep.Api, story: Story) -> None:
    with pytest.raises(modelkeep.RunNotFound, match="neither a collection nor a run 'nosuch'"):
        api.lineage("nosuch")
    with pytest.raises(modelkeep.CollectionNotFound):
        api.lineage("nosuch:best")
    with pytest.raises(modelkeep.VersionNotFound):
        api.lineage("net:v9")
    with pytest.raises(modelkeep.AliasNotFound):
        api.lineage("net:bset")
    with pytest.raises(modelkeep.InvalidArgument, match="'up'"):
        api.lineage("net", direction="sideways")  # type: ignore[arg-type]
    with pytest.raises(modelkeep.InvalidArgument, match="'run' and 'version'"):
        api.lineage("net", kind="thing")
    with pytest.raises(modelkeep.RunNotFound):
        api.lineage("teams/default/projects/none/runs/nosuch")
