"""The main job through the SDK: log, dedup, alias, use, find, edit, delete, restore."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import modelkeep
import pytest
from modelkeep.digest import Digest
from modelkeep.manifest import Entry, Segment, manifest_digest

from tests.contract.sdk import artifact, read, some, write
from tests.suites import Suite


@pytest.fixture(autouse=True)
def _client(client_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in client_env if name.startswith("MODELKEEP_")]:
        monkeypatch.setenv(name, client_env[name])


def log(root: Path, content: dict[str, bytes] | None = None, **how: object) -> modelkeep.Version:
    content = {"model.bin": some()} if content is None else content
    return modelkeep.Api().log_artifact(artifact(root, content), **how)  # type: ignore[arg-type]


def test_a_version_is_what_was_logged(tmp_path: Path, project: str) -> None:
    """SEM-1, 9, 10, 18."""
    content = {"model.bin": some(3 << 20), "tokenizer/vocab.txt": b"a b c", "empty": b""}
    made = artifact(tmp_path / "in", content, metadata={"acc": 0.9, "nan": float("nan")}, description="**bold**", notes="n")
    (tmp_path / "in" / "model.bin").chmod(0o755)
    with modelkeep.init(project=project, name="first try") as run:
        version = run.log_artifact(made, aliases=["best", "latest"], tags=["fp32"])
    assert (version.name, version.version, version.type, version.state) == ("digits:v0", "v0", "model", "COMMITTED")
    assert version.resource_name.endswith(f"/projects/{project}/collections/digits/versions/v0")
    assert version.aliases == ("best", "latest")
    assert version.tags == ("fp32",)
    assert version.metadata == {"acc": 0.9, "nan": None}
    assert (version.description, version.notes) == ("**bold**", "n")
    assert (version.entry_count, version.stored_bytes) == (3, (3 << 20) + 5)
    assert (version.run, version.run_display_name) == (run.resource_name, "first try")
    assert (version.deduplicated, version.sent_bytes) == (False, (3 << 20) + 5)
    assert abs(version.create_time - datetime.now(UTC)) < timedelta(minutes=5)
    entries = [
        Entry(path, Digest.of(data), len(data), path == "model.bin", (Segment(Digest.of(data), 0, len(data)),) if data else ())
        for path, data in content.items()
    ]
    assert version.digest == str(manifest_digest(entries))
    found = list(version.files())
    assert [(f.path, f.size_bytes, f.executable) for f in found] == [
        ("empty", 0, False),
        ("model.bin", 3 << 20, True),
        ("tokenizer/vocab.txt", 5, False),
    ]
    assert [f.path for f in version.files("tokenizer")] == ["tokenizer/vocab.txt"]
    assert list(version.files("token")) == []
    assert modelkeep.Api().artifact("digits:best") == modelkeep.Api().artifact("digits@" + version.digest)


def test_the_same_content_is_one_version(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """SEM-11: the aliases move, the words stay, and the answer says so."""
    content = {"a": some(), "b/c": some()}
    first = log(tmp_path / "1", content, aliases=["best"])
    other = log(tmp_path / "2", aliases=["best"])
    with caplog.at_level(logging.WARNING):
        again = modelkeep.Api().log_artifact(artifact(tmp_path / "3", content, metadata={"x": 1}), aliases=["best"])
    assert (first.version, other.version, again.version) == ("v0", "v1", "v0")
    assert again.deduplicated
    assert again.sent_bytes == 0
    assert again.ignored_fields == ("metadata",)
    assert "not applied to it: metadata" in caplog.text
    assert again.metadata == {}
    assert again.aliases == ("best",)
    assert modelkeep.Api().artifact("digits").version == "v1"


def test_only_what_changed_is_sent(tmp_path: Path) -> None:
    content = {"large": some(20 << 20), "small": some()}
    log(tmp_path / "1", content)
    middle = 10 << 20
    changed = content["large"][:middle] + b"more" + content["large"][middle:]
    assert 4 < log(tmp_path / "2", content | {"large": changed}).sent_bytes <= 16 << 20  # some chunks of at most 4 MiB
    assert log(tmp_path / "3", content | {"new": b"new"}).sent_bytes == len(content["small"]) + 3  # they share a pack


def test_numbers_and_lists(tmp_path: Path, project: str) -> None:
    """SEM-9, 53."""
    api = modelkeep.Api()
    for number in range(3):
        assert log(tmp_path / str(number)).number == number
    api.log_artifact(artifact(tmp_path / "d", {"x": some()}, name="data", type="dataset"))
    assert [version.version for version in api.versions("digits")] == ["v2", "v1", "v0"]
    found = list(api.collections())
    assert [(c.name, c.type, c.latest_version, c.version_count) for c in found] == [
        ("data", "dataset", "v0", 1),
        ("digits", "model", "v2", 3),
    ]
    assert [c.name for c in api.collections(type="dataset")] == ["data"]
    assert project in [p.name for p in api.projects()]
    assert api.collection(f"{project}/digits").resource_name == found[1].resource_name


def test_aliases_move_by_compare_and_set_and_remember(tmp_path: Path) -> None:
    """SEM-16, 17."""
    api = modelkeep.Api()
    log(tmp_path / "0")
    log(tmp_path / "1")
    first = api.promote("digits:v0", "production", expect="none", reason="eval 1")
    assert (first.alias, first.version, first.reason) == ("production", "v0", "eval 1")
    with pytest.raises(modelkeep.AliasChanged) as caught:
        api.promote("digits:v1", "production", expect="none")
    assert "v0" in str(caught.value)
    with pytest.raises(modelkeep.AliasChanged):
        api.promote("digits:v1", "production", expect="v1")
    moved = api.promote("digits:v1", "production", expect="v0", reason="eval 2")
    assert moved.seq > first.seq
    assert [(a.alias, a.version) for a in api.aliases("digits")] == [("production", "v1")]
    assert api.artifact(f"digits:production@{first.update_time.isoformat()}").version == "v0"
    gone = api.delete_alias("digits", "production", expect="v1", reason="retired")
    assert gone.version == ""
    assert [(c.from_version, c.to_version, c.reason) for c in api.history("digits", "production")] == [
        ("v1", "", "retired"),
        ("v0", "v1", "eval 2"),
        ("", "v0", "eval 1"),
    ]
    with pytest.raises(modelkeep.AliasNotFound):
        api.artifact("digits:production")
    with pytest.raises(modelkeep.InvalidAlias):
        api.promote("digits:v0", "latest")
    with pytest.raises(modelkeep.InvalidArgument):
        api.promote("digits:v0", "x", expect="")


def test_words_are_edited_and_content_is_not(tmp_path: Path) -> None:
    """SEM-15, 19."""
    version = log(tmp_path / "0")
    edited = version.edit(description="new", metadata={"acc": 1})
    assert (edited.description, edited.notes, edited.metadata, edited.version) == ("new", "", {"acc": 1}, "v0")
    assert edited.digest == version.digest
    with pytest.raises(modelkeep.EtagMismatch):
        version.edit(notes="from a stale copy")
    assert edited.edit(notes="later").notes == "later"
    tagged = version.tag(add=["a b", "c"])
    assert tagged.tags == ("a b", "c")
    assert tagged.tag(remove=["a b", "never there"]).tags == ("c",)
    with pytest.raises(modelkeep.InvalidTag):
        version.tag(add=[" x"])
    with pytest.raises(modelkeep.InvalidMetadata):
        version.edit(metadata={"x": object()})


def test_deleting_and_restoring(tmp_path: Path) -> None:
    """SEM-18, 40, 43, 44."""
    api = modelkeep.Api()
    log(tmp_path / "0")
    version = log(tmp_path / "1", aliases=["best"])
    with pytest.raises(modelkeep.VersionAliased, match="best"):
        version.delete()
    deleted = version.delete(delete_aliases=True, reason="too large")
    assert deleted.state == "DELETED"
    assert deleted.tombstone is not None
    assert deleted.tombstone.reason == "too large"
    assert api.artifact("digits").version == "v0"
    with pytest.raises(modelkeep.VersionDeleted, match="too large"):
        api.artifact("digits:v1")
    assert [v.version for v in api.versions("digits")] == ["v0"]
    assert [v.version for v in api.versions("digits", show_deleted=True)] == ["v1", "v0"]
    with pytest.raises(modelkeep.InvalidAddress):
        api.restore("digits")
    restored = api.restore("digits:v1")
    assert (restored.state, restored.aliases) == ("COMMITTED", ("latest",))


def test_a_use_is_recorded_once(tmp_path: Path) -> None:
    """SEM-20, 39."""
    version = log(tmp_path / "0", aliases=["best"])
    assert version.uses.run_count == 0
    with modelkeep.init() as run:
        assert run.use_artifact("digits:best").version == "v0"
        run.use_artifact(version)
    with modelkeep.init() as run:
        run.use_artifact("digits")
    used = modelkeep.Api().artifact("digits")
    assert used.uses.run_count == 2
    assert used.uses.first_use_time is not None


def test_using_an_artifact_logs_it_first(tmp_path: Path) -> None:
    """SEM-39."""
    with modelkeep.init() as run:
        version = run.use_artifact(artifact(tmp_path / "0", {"x": some()}, name="data", type="dataset"))
    assert version.name == "data:v0"
    assert version.run == ""  # this run used it, it did not make it
    assert modelkeep.Api().artifact("data").uses.run_count == 1


def test_collections_are_renamed_and_described(tmp_path: Path) -> None:
    api = modelkeep.Api()
    version = log(tmp_path / "0", aliases=["best"])
    assert api.rename("digits", "numbers").name == "numbers"
    assert api.artifact("numbers:best").uid == version.uid
    assert api.set_type("numbers", "weights").type == "weights"
    assert api.describe("numbers", "# Numbers").description == "# Numbers"
    with pytest.raises(modelkeep.CollectionNotFound):
        api.artifact("digits")
    assert api.create_project(f"{api.default_project}-2", description="x").description == "x"
    assert api.edit_project(api.default_project, description="about").description == "about"
    assert api.project().description == "about"


def test_keys_are_made_and_revoked(suite: Suite, tmp_path: Path) -> None:
    """R14, SEM-22: what a key may do."""
    log(tmp_path / "0")
    api = modelkeep.Api()
    made = api.create_key(display_name="ci", role="read", expires=timedelta(hours=1))
    assert made.secret.startswith("mk_")
    assert made.secret not in repr(made)
    assert made.key.expire_time is not None
    reader = modelkeep.Api(api_key=made.secret)
    assert reader.artifact("digits").version == "v0"
    with pytest.raises(modelkeep.PermissionDenied):
        reader.promote("digits:v0", "mine")
    assert made.key.id in {key.id for key in list(api.keys())}
    assert api.revoke_key(made.key.id).revoke_time is not None
    with pytest.raises(modelkeep.ApiKeyInvalid):
        modelkeep.Api(made.secret and suite.url, made.secret, project="other").artifact("digits")
    with pytest.raises(modelkeep.InvalidArgument, match="read, write, admin"):
        api.create_key(role="god")


def test_a_wrong_key_is_told_when_the_run_begins() -> None:
    """And not after hours of training."""
    with pytest.raises(modelkeep.ApiKeyInvalid):
        modelkeep.init(api_key="mk_nobody")


def test_names_that_do_not_exist_suggest_others(tmp_path: Path) -> None:
    api = modelkeep.Api()
    log(tmp_path / "0", aliases=["production"])
    for address, error, hint in [
        ("digits:v9", modelkeep.VersionNotFound, "v0"),
        ("digits:prodution", modelkeep.AliasNotFound, "production"),
        ("digit", modelkeep.CollectionNotFound, "digits"),
        ("digits@sha256:" + "0" * 64, modelkeep.VersionNotFound, ""),
    ]:
        with pytest.raises(error) as caught:
            api.artifact(address)
        assert hint in str(caught.value)
        assert caught.value.request_id
    with pytest.raises(modelkeep.InvalidAddress):
        api.artifact("a/b/c/d")
    with pytest.raises(modelkeep.InvalidAddress):
        list(api.versions("digits:v0"))


def test_the_wrong_type_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """SEM-2."""
    log(tmp_path / "0")
    other = artifact(tmp_path / "1", {"x": some()}, type="dataset")
    with pytest.raises(modelkeep.CollectionTypeMismatch, match="'model'"):
        modelkeep.Api().log_artifact(other)
    assert len(list(modelkeep.Api().versions("digits"))) == 1


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"aliases": ["v1"]}, modelkeep.InvalidAlias),
        ({"aliases": ["a/b"]}, modelkeep.InvalidAlias),
        ({"tags": ["a  "]}, modelkeep.InvalidTag),
    ],
)
def test_bad_words_are_told_before_anything_is_sent(tmp_path: Path, words: dict[str, object], error: type[Exception]) -> None:
    made = artifact(tmp_path, {"x": some()})
    with pytest.raises(error):
        modelkeep.Api().log_artifact(made, **words)  # type: ignore[arg-type]
    with pytest.raises(modelkeep.ProjectNotFound):
        modelkeep.Api().artifact("digits")


def test_one_alias_may_be_given_as_a_text(tmp_path: Path) -> None:
    assert log(tmp_path, aliases="best").aliases == ("best", "latest")


def test_a_path_is_logged_with_a_name_and_a_type(tmp_path: Path) -> None:
    write(tmp_path, {"folder/a": b"1", "file": some()})
    with modelkeep.init() as run:
        assert run.log_artifact(tmp_path / "folder", "f", "code").entry_count == 1
        assert [f.path for f in run.log_artifact(str(tmp_path / "file"), name="g", type="code").files()] == ["file"]
        with pytest.raises(modelkeep.InvalidArgument, match="a type such as"):
            run.log_artifact(tmp_path / "file", name="g")
    with pytest.raises(modelkeep.InvalidArgument, match="finished"):
        run.log_artifact(tmp_path / "file", "g", "code")


def test_in_the_background(tmp_path: Path) -> None:
    with modelkeep.init() as run:
        pending = [run.log_artifact(artifact(tmp_path / str(n), {"x": some()}, name=f"c{n}"), wait=False) for n in range(5)]
    assert [one.result().name for one in pending] == [f"c{n}:v0" for n in range(5)]
    assert all(one.done() for one in pending)


def test_what_fails_in_the_background_is_raised_at_the_end(tmp_path: Path) -> None:
    """M-UP-4: no error is swallowed."""
    run = modelkeep.init()
    log(tmp_path / "0")
    failing = run.log_artifact(artifact(tmp_path / "1", {"x": some()}, type="other"), wait=False)
    fine = run.log_artifact(artifact(tmp_path / "2", {"x": some()}, name="fine"), wait=False)
    with pytest.raises(modelkeep.CollectionTypeMismatch):
        run.finish()
    assert fine.result().version == "v0"
    with pytest.raises(modelkeep.CollectionTypeMismatch):
        failing.result()
    run.finish()


@pytest.mark.peer("M-UP-3")
def test_a_file_that_is_written_to_before_it_was_read_in_the_background_is_refused(tmp_path: Path) -> None:
    run = modelkeep.init()
    made = [artifact(tmp_path / str(n), {"x": some(8 << 20)}, name=f"c{n}") for n in range(4)]
    for one in made:
        run.log_artifact(one, wait=False)
    (tmp_path / "3" / "x").write_bytes(b"the next epoch")  # behind three others
    with pytest.raises(modelkeep.FileChanged, match="3/x"):
        run.finish()


def test_downloads(tmp_path: Path) -> None:
    content = {"model.bin": some((2 << 20) + 1), "sub/a": b"a", "sub/b": b"", "subway": b"s"}
    version = log(tmp_path / "in", content)
    assert read(version.download(tmp_path / "out")) == content
    assert read(version.download(tmp_path / "part", path="sub")) == {"sub/a": b"a", "sub/b": b""}
    assert read(version.download(tmp_path / "one", path="subway", durable=True)) == {"subway": b"s"}
    with pytest.raises(modelkeep.EntryNotFound, match="'su'"):
        version.download(tmp_path / "none", path="su")
    with pytest.raises(modelkeep.InvalidPath):
        version.download(tmp_path / "none", path="../x")


def test_the_default_folder_is_named_after_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert log(tmp_path / "in").download() == Path("artifacts/digits:v0")
    assert (tmp_path / "artifacts" / "digits:v0" / "model.bin").exists()


def test_download_leaves_alone_what_checkout_removes(tmp_path: Path) -> None:
    """SEM-37."""
    content = {"a": b"1", "d/b": b"2", "e": b"3"}
    version = log(tmp_path / "in", content)
    out = write(tmp_path / "out", {"mine": b"mine", "d/other": b"x", "deep/er/x": b"x"})
    version.download(out)
    assert read(out) == content | {"mine": b"mine", "d/other": b"x", "deep/er/x": b"x"}
    (out / "a").unlink()
    write(out / "a", {"in-the-way": b"x"})
    (out / "link").symlink_to(tmp_path / "in")
    with pytest.raises(modelkeep.TargetUnusable):
        version.download(out)
    version.checkout(out)
    assert read(out) == content
    assert sorted(path.name for path in out.iterdir()) == ["a", "d", "e"]
    assert read(tmp_path / "in") == content
    with pytest.raises(modelkeep.TargetUnusable, match="would be emptied"):
        version.checkout("/")


def test_verify_tells_all_that_differs(tmp_path: Path) -> None:
    """SEM-38."""
    version = log(tmp_path / "in", {"a": b"1", "b": b"22", "c": b"3", "d/e": b"4", "x": b"5"})
    out = version.download(tmp_path / "out")
    version.verify(out)
    (out / "a").write_bytes(b"9")
    (out / "b").write_bytes(b"2")
    (out / "c").unlink()
    (out / "x").chmod(0o755)
    (out / "d" / "e").unlink()
    (out / "d" / "e").symlink_to(out / "a")
    (out / "more").write_bytes(b"")
    with pytest.raises(modelkeep.VerificationFailed) as caught:
        version.verify(out)
    assert caught.value.metadata["problems"].splitlines() == [
        "changed a (other content)",
        "changed b (1 bytes instead of 2)",
        "missing c",
        "changed d/e (it is no regular file, or cannot be read)",
        "changed x (executable)",
        "extra more",
    ]
    assert "1 missing, 1 extra, 4 changed" in str(caught.value)
    version.checkout(out)
    version.verify(out)
    with pytest.raises(modelkeep.TargetUnusable):
        version.verify(tmp_path / "nowhere")
