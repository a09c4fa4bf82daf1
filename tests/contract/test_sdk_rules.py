"""The best version through the SDK: logged only if better, kept under an alias by a rule."""

from __future__ import annotations

from pathlib import Path

import modelkeep
import pytest
from modelkeep import config
from modelkeep._channel import connect
from modelkeep._offline_find import runs_in
from modelkeep._sync import sync
from modelkeep.errors import AliasNotFound, AliasRuled, InvalidArgument, InvalidFilter, InvalidMetadata

from tests.contract.sdk import artifact, some


@pytest.fixture(autouse=True)
def _client(client_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in client_env if name.startswith("MODELKEEP_")]:
        monkeypatch.setenv(name, client_env[name])
    monkeypatch.setenv("MODELKEEP_OFFLINE_DIR", str(tmp_path / "offline"))


def made(root: Path, **metadata: object) -> modelkeep.Artifact:
    return artifact(root / some().hex()[:12], {"model.bin": some()}, metadata=metadata)


def test_a_run_logs_only_what_is_better(tmp_path: Path, project: str) -> None:
    """The answer says what was compared; what was not better has no producer, no alias and no number (SEM-9)."""
    with modelkeep.init(project=project) as run:
        first = run.log_artifact(made(tmp_path, acc=0.9), only_if_better=("acc", "max"))
        worse = run.log_artifact(made(tmp_path, acc=0.8), aliases=["new"], only_if_better=("acc", "max"))
        later = run.log_artifact(made(tmp_path, acc=0.95), only_if_better=("acc", "max"), wait=False).result()
    assert first.comparison == modelkeep.Comparison("acc", "max", 0.9, None, "", is_better=True)
    assert (worse.version, worse.deduplicated) == ("v0", False)
    assert worse.comparison == modelkeep.Comparison("acc", "max", 0.8, 0.9, "v0", is_better=False)
    assert str(worse.comparison) == "acc 0.8 is not better than the 0.9 of v0 (max)"
    assert (later.version, str(later.comparison)) == ("v1", "acc 0.95 is better than the 0.9 of v0 (max)")
    api = modelkeep.Api()
    assert [version.version for version in api.versions("digits")] == ["v1", "v0"]
    assert [alias.alias for alias in api.aliases("digits")] == []
    assert api.artifact("digits:latest").comparison is None


def test_what_cannot_be_compared_is_refused_before_anything_is_uploaded(tmp_path: Path) -> None:
    api = modelkeep.Api()
    for condition in (("acc", "most"), ("", "max"), "acc:max"):
        with pytest.raises(InvalidArgument):
            api.log_artifact(made(tmp_path, acc=1), only_if_better=condition)  # type: ignore[arg-type]
    for metadata in ({}, {"acc": "0.9"}, {"acc": float("nan")}):
        with pytest.raises(InvalidMetadata, match="no number"):
            api.log_artifact(made(tmp_path, **metadata), only_if_better=("acc", "max"))
    with pytest.raises(InvalidFilter, match="at character 5"):
        api.log_artifact(made(tmp_path, acc=1), only_if_better=("acc =", "max"))


def test_several_runs_build_one_version_only_if_it_is_better(tmp_path: Path, project: str) -> None:
    """SEM-42: whoever finishes, and however often, gets the same answer."""
    best = modelkeep.Api().log_artifact(made(tmp_path, eval={"loss.x": 1}))
    with modelkeep.init(project=project) as run:
        shared = made(tmp_path, eval={"loss.x": 2})
        run.upsert_artifact(shared, distributed_id="epoch 1")
        for _ in range(2):
            worse = run.finish_artifact(shared, distributed_id="epoch 1", only_if_better=('eval."loss.x"', "min"))
            assert worse.comparison
            assert (worse.version, worse.comparison.is_better) == (best.version, False)
    assert [version.version for version in modelkeep.Api().versions("digits")] == ["v0"]


def test_a_draft_that_was_not_better_has_ended(tmp_path: Path) -> None:
    api = modelkeep.Api()
    best = api.log_artifact(made(tmp_path, acc=1))
    with api.draft("digits:latest") as draft:
        draft.add_file(next((tmp_path).rglob("model.bin")), "more.bin")
        worse = draft.commit(metadata={"acc": 0}, only_if_better=("acc", "max"))
    assert (worse.version, draft.refresh().state, draft.version) == (best.version, "COMMITTED", best.version)


def test_what_was_recorded_offline_is_compared_when_it_is_synced(tmp_path: Path) -> None:
    """The aliases of what was not better do not move."""
    with modelkeep.init(mode="offline") as run:
        for acc in (0.5, 0.9, 0.7):
            run.log_artifact(made(tmp_path, acc=acc), aliases=["new"], only_if_better=("acc", "max"))
    modelkeep.Api().log_artifact(made(tmp_path, acc=0.6))
    (outcome,) = sync(connect(config.load()), runs_in(str(tmp_path / "offline")))
    assert outcome.error is None
    logged = [(step.version, step.aliases, step.not_better) for step in outcome.steps if step.kind == "log"]
    assert logged == [
        ("digits:v0", (), "acc 0.5 is not better than the 0.6 of v0 (max)"),
        ("digits:v1", ("new",), ""),
        ("digits:v1", (), "acc 0.7 is not better than the 0.9 of v1 (max)"),
    ]


@pytest.mark.parametrize("clean", [False, True])
def test_a_use_of_what_was_not_better_is_left_out_of_a_sync(clean: bool, tmp_path: Path) -> None:
    """By the run that logged it, and by another: both arrive to their ends, whether the folder of the first is still there."""
    modelkeep.Api().log_artifact(made(tmp_path, acc=0.9))
    with modelkeep.init(mode="offline", id="first") as run:
        worse = run.log_artifact(made(tmp_path, acc=0.5), aliases=["mine"], only_if_better=("acc", "max"))
        run.use_artifact(worse)
    with modelkeep.init(mode="offline", id="second") as run:
        run.use_artifact("digits:mine")
        run.summary["arrived"] = True
    outcomes = list(sync(connect(config.load()), runs_in(str(tmp_path / "offline")), clean=clean))
    assert [outcome.error for outcome in outcomes] == [None, None]
    uses = [
        step for outcome in outcomes for step in outcome.steps if step.kind == "use" and not step.version.startswith("code-")
    ]
    assert [(step.version, step.not_better) for step in uses] == [
        ("", f"no version has digits@{worse.digest}, which was not better")
    ] * 2
    second = modelkeep.Api().run("second")
    assert (second.state, second.summary) == ("FINISHED", {"arrived": True})


def test_a_use_of_what_is_still_to_be_compared_waits_for_that(tmp_path: Path) -> None:
    with modelkeep.init(mode="offline", id="first") as run:
        run.log_artifact(made(tmp_path, acc=0.5), aliases=["mine"], only_if_better=("acc", "max"))
    with modelkeep.init(mode="offline", id="second") as run:
        run.use_artifact("digits:mine")
    first, second = sorted(runs_in(str(tmp_path / "offline")), key=lambda folder: "-second-" in folder)
    (refused,) = sync(connect(config.load()), [second])
    assert refused.error is not None
    assert [outcome.error for outcome in sync(connect(config.load()), [first, second])] == [None, None]
    assert [link.node.name for link in modelkeep.Api().run("second").used(type="model")] == ["digits:v0"]


def test_a_rule_keeps_an_alias_on_the_best_version(tmp_path: Path) -> None:
    """Through logging, editing, deleting and restoring; the history names the rule, and nobody else moves it."""
    api = modelkeep.Api()
    api.log_artifact(made(tmp_path, acc=0.5))
    rule = api.set_alias_rule("digits", "best", " argmax( metadata.acc ) ")
    assert (rule.alias, rule.expression, rule.version) == ("best", "argmax(metadata.acc)", "v0")
    second = api.log_artifact(made(tmp_path, acc=0.9))
    assert (second.aliases, api.artifact("digits:best").version) == (("best", "latest"), "v1")
    api.log_artifact(made(tmp_path, acc=0.7))
    assert api.artifact("digits:best").version == "v1"
    second.edit(metadata={"acc": 0.1})
    assert api.artifact("digits:best").version == "v2"
    api.artifact("digits:v2").delete(delete_aliases=True)
    assert api.artifact("digits:best").version == "v0"
    api.restore("digits:v2")
    changes = [(line.to_version, line.reason) for line in api.history("digits", "best")]
    assert changes == [(version, "rule: argmax(metadata.acc)") for version in ("v2", "v0", "v2", "v1", "v0")]
    with pytest.raises(AliasRuled, match=r"argmax\(metadata.acc\)") as refused:
        api.promote("digits:v0", "best")
    assert refused.value.metadata["rule"] == "argmax(metadata.acc)"
    with pytest.raises(AliasRuled):
        api.log_artifact(made(tmp_path, acc=0), aliases=["best"])
    with pytest.raises(AliasRuled):
        api.copy("digits:v0", "digits", aliases=["best"])
    assert [one.expression for one in api.alias_rules("digits")] == ["argmax(metadata.acc)"]
    assert api.delete_alias_rule("digits", "best").version == "v2"
    assert api.promote("digits:v0", "best").version == "v0"
    with pytest.raises(AliasNotFound):
        api.delete_alias_rule("digits", "best")


@pytest.mark.parametrize(
    ("expression", "character"),
    [("best", 1), ("argmax(acc)", 8), ("argmax(metadata)", 8), ("argmax(metadata.acc desc)", 21), ("argmin(metadata.)", 17)],
)
def test_a_rule_that_means_nothing_points_at_the_character(tmp_path: Path, expression: str, character: int) -> None:
    api = modelkeep.Api()
    api.log_artifact(made(tmp_path, acc=0.5))
    with pytest.raises(InvalidFilter, match=f"in the rule, at character {character}:"):
        api.set_alias_rule("digits", "best", expression)
