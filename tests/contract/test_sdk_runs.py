"""Runs as they are read through the SDK, in every topology: found, sorted, edited, deleted, with what they measured."""

from __future__ import annotations

import math
from pathlib import Path
from uuid import uuid4

import modelkeep
import pytest

from tests.contract.sdk import artifact, some

KEYS = ("eval/acc", "top 5", 'the "best"', "it's", "acc@1", "a/b.c", "100%", "-x", "and", "x*", "back\\slash", "\u03b1 \u03b2")
"""Keys of metrics that a filter would have in quotes."""


@pytest.fixture
def api(client_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> modelkeep.Api:
    """A client of a project of its own."""
    for name in [name for name in client_env if name.startswith("MODELKEEP_")]:
        monkeypatch.setenv(name, client_env[name])
    return modelkeep.Api()


def begun(name: str, lr: float = 0.1, acc: float | None = None, **how: object) -> modelkeep.Run:
    """A run that is finished."""
    with modelkeep.init(name=name, config={"lr": lr, "opt": {"name": "adam"}}, **how) as run:  # type: ignore[arg-type]
        if acc is not None:
            run.log({"acc": acc}, step=0)
    return run


def names(found: object) -> list[str]:
    return [run.name for run in found]  # type: ignore[attr-defined]


def test_a_run_is_found_by_its_id_its_name_and_its_resource_name(api: modelkeep.Api, project: str) -> None:
    run = begun("lucky one", job_type="train", tags=["golden"], notes="the first", group="sweep-1")
    for text in (run.id, f"{project}/{run.id}", f"{api.team}/{project}/{run.id}", run.resource_name, "lucky one"):
        found = api.run(text)
        assert (found.id, found.name, found.state, found.job_type) == (run.id, "lucky one", "FINISHED", "train")
    assert (found.tags, found.notes, found.group) == (("golden",), "the first", "sweep-1")
    assert found.config == {"lr": 0.1, "opt": {"name": "adam"}}
    assert found.end_time is not None
    assert found.start_time <= found.end_time
    other = begun("lucky one")
    with pytest.raises(modelkeep.RunNotFound, match="several runs are called 'lucky one'") as raised:
        api.run("lucky one")
    assert {run.id, other.id} == set(raised.value.metadata["ids"].split(", "))
    with pytest.raises(modelkeep.RunNotFound):
        api.run("nosuch")
    with pytest.raises(modelkeep.RunNotFound, match="did you mean 'lucky one'"):
        api.run("lucky ones")
    with pytest.raises(modelkeep.RunNotFound, match="there is no run 'no such name'"):
        api.run("no such name")
    with pytest.raises(modelkeep.InvalidName):
        api.run("a/b/c/d")
    with pytest.raises(modelkeep.RunNotFound):
        api.run("no-such-project/nosuch")


def test_runs_are_found_and_sorted(api: modelkeep.Api, project: str) -> None:
    begun("a", lr=0.1, acc=0.5, job_type="train")
    begun("b", lr=0.01, acc=0.9, job_type="train", tags=["golden"])
    begun("c", lr=0.001, acc=0.7, job_type="tune")
    assert names(api.runs()) == ["c", "b", "a"]
    assert names(api.runs(filter="config.lr < 0.05", order="-summary.acc")) == ["b", "c"]
    assert names(api.runs(filter='job_type = train AND state = "finished"', order="name")) == ["a", "b"]
    assert names(api.runs(filter="tag:golden")) == ["b"]
    assert names(api.runs(filter="config.opt.name = adam AND summary.acc >= 0.7", order="summary.acc")) == ["c", "b"]
    other = modelkeep.Api(project=f"{project}-2")
    assert names(api.runs("-", filter=f"project = {project}", order="name")) == ["a", "b", "c"]
    with pytest.raises(modelkeep.ProjectNotFound):
        list(other.runs())
    with pytest.raises(modelkeep.InvalidFilter) as raised:
        list(api.runs(filter="confg.lr < 1"))
    assert raised.value.message.endswith("\n  confg.lr < 1\n  ^")
    assert raised.value.metadata["nearest"] == "config"


def test_the_best_run(api: modelkeep.Api, tmp_path: Path) -> None:
    for name, acc in (("a", 0.5), ("b", 0.9), ("c", 0.9), ("d", math.nan)):
        with modelkeep.init(name=name, job_type="train") as run:
            run.log({"acc": acc, "eval.acc": -acc} | dict.fromkeys(KEYS, acc), step=0)
            run.log_artifact(artifact(tmp_path / name, {"f": some()}, "net"))
    best = api.best_run("acc")
    assert (best.name, best.best_value, [link.node.name for link in best.best_produced]) == ("b", 0.9, ["net:v1"])
    assert api.best_run("acc", goal="min").name == api.best_run("acc", goal="minimize").name == "a"
    assert api.best_run("acc", goal="max").id == api.best_run("acc", goal="maximize").id
    assert api.best_run('"eval.acc"').name == api.best_run("eval.acc").name == "a"
    assert api.best_run("acc", filter="name = a").name == "a"
    for key in KEYS:
        assert api.best_run(key).name == "b", key
    with pytest.raises(modelkeep.RunNotFound):
        api.best_run("nosuch")
    with pytest.raises(modelkeep.InvalidArgument, match="'max'"):
        api.best_run("acc", goal="best")
    with pytest.raises(modelkeep.InvalidFilter):
        api.best_run("acc", filter="name =")


def test_what_a_run_measured(api: modelkeep.Api) -> None:
    with modelkeep.init(name="m") as run:
        run.define_metric("acc", summary="max")
        for step, loss in ((0, 1.0), (1, math.nan), (2, math.inf), (1, 0.5)):
            run.log({"loss": loss, "acc": 1 - loss if loss <= 1 else 0.0}, step=step)
    found = api.run(run.id)
    assert found.summary["acc"] == 0.5
    assert found.summary["loss"] == 0.5
    metrics = {metric.key: metric for metric in found.metrics()}
    assert list(metrics) == ["acc", "loss"]
    loss = metrics["loss"]
    assert (loss.point_count, loss.last_value, loss.last_step, loss.steps_went_back) == (4, 0.5, 1, True)
    assert (loss.min_value, loss.max_value, loss.summary, metrics["acc"].summary) == (0.5, math.inf, "last", "max")
    points = list(found.history("loss"))
    assert [point.step for point in points] == [0, 1, 2, 1]
    assert math.isnan(points[1].value)
    assert points[2].value == math.inf
    with pytest.raises(modelkeep.MetricNotFound) as raised:
        list(found.history("los"))
    assert raised.value.metadata["nearest"] == "loss"


def test_a_none_takes_a_value_of_the_summary_away(api: modelkeep.Api) -> None:
    """As docs/runs.md says; a config keeps it."""
    with modelkeep.init(name="none", config={"y": None}) as run:
        run.summary.update({"y": 1, "nested": {"y": None}})
        run.flush()
        run.summary["y"] = None
    found = api.run(run.id)
    assert (found.summary, found.config) == ({"nested": {"y": None}}, {"y": None})


def test_words_are_edited(api: modelkeep.Api) -> None:
    """SEM-19."""
    begun("before")
    run = api.run("before")
    edited = run.edit(name="after", notes="# Good", config={"lr": 1})
    assert (edited.name, edited.notes, edited.config, edited.group) == ("after", "# Good", {"lr": 1}, "")
    with pytest.raises(modelkeep.EtagMismatch):
        run.edit(notes="stale")
    tagged = edited.add_tags("golden", "second one").remove_tags("nosuch")
    assert tagged.tags == ("golden", "second one")
    assert names(api.runs(filter="config.lr = 1 AND tag:golden")) == ["after"]
    with pytest.raises(modelkeep.InvalidTag):
        edited.add_tags("a/b")


def test_deleting_a_run_keeps_what_it_made_unless_asked(api: modelkeep.Api, tmp_path: Path) -> None:
    """SEM-51."""
    with modelkeep.init(name="r") as run:
        for aliases in ([], ["best"]):
            run.log_artifact(artifact(tmp_path / uuid4().hex, {"f": some()}, "net"), aliases=aliases)
    with modelkeep.init(name="s") as second:
        second.log_artifact(artifact(tmp_path / "s", {"f": some()}, "net"))
        second.log_artifact(api.artifact("net:v1").download(tmp_path / "again"), "net", "model")
    with pytest.raises(modelkeep.RunNotFound):
        api.delete_run("r")  # the name of one
    with pytest.raises(modelkeep.VersionAliased, match=r"net:v1 \(best\)"):
        api.delete_run(run.id, delete_versions=True)
    assert api.run(run.id).name == "r"
    assert [version.name for version in api.delete_run(second.id, delete_versions=True)] == ["net:v2"]
    assert [version.name for version in api.versions("net")] == ["net:v1", "net:v0"]
    assert api.delete_run(run.id) == ()
    assert [version.name for version in api.versions("net")] == ["net:v1", "net:v0"]
    with pytest.raises(modelkeep.RunDeleted):
        api.run(run.id)
    assert names(api.runs()) == []
