"""Drafts, copies and moves through the SDK: begin with a version, change, commit; many writers; no bytes twice (SEM-41, 42)."""

from pathlib import Path

import modelkeep
import pytest

from tests.contract.sdk import Content, artifact, read, some, write
from tests.suites import Suite


@pytest.fixture(autouse=True)
def _client(client_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in client_env if name.startswith("MODELKEEP_")]:
        monkeypatch.setenv(name, client_env[name])


def log(root: Path, content: Content, **how: object) -> modelkeep.Version:
    return modelkeep.Api().log_artifact(artifact(root, content), **how)  # type: ignore[arg-type]


def test_a_draft_from_a_version_sends_only_what_is_new(tmp_path: Path, project: str) -> None:
    """SEM-41: files come, go and are replaced; the base stays what it was; the rest is not sent again."""
    api = modelkeep.Api()
    old = {"big.bin": some(3 << 20), "conf/a.json": b"a", "conf/b.json": b"b", "read.me": b"1"}
    base = log(tmp_path / "in", old)
    new = write(tmp_path / "new", {"read.me": b"22", "extra/c.txt": b"c"})
    with api.draft("digits:v0") as draft:
        draft.add_file(new / "read.me", overwrite=True)
        draft.add_dir(new / "extra", "extra")
        assert draft.remove("conf") == 2
        version = draft.commit(aliases=["next"], metadata={"from": "v0"})
    assert (version.name, version.aliases, version.metadata) == ("digits:v1", ("latest", "next"), {"from": "v0"})
    assert version.sent_bytes == 3
    expected = {"big.bin": old["big.bin"], "read.me": b"22", "extra/c.txt": b"c"}
    assert read(api.artifact("digits:next").download(tmp_path / "out")) == expected
    assert read(api.artifact("digits:v0").download(tmp_path / "base")) == old
    assert (draft.state, draft.base, draft.version) == ("COMMITTED", base.resource_name, "v1")
    assert draft.commit(aliases=["next"], metadata={"from": "v0"}).name == "digits:v1"


def test_another_content_needs_overwrite_and_both_digests_are_named(tmp_path: Path, project: str) -> None:
    """SEM-41."""
    api = modelkeep.Api()
    log(tmp_path / "in", {"w": b"1"})
    new = write(tmp_path / "new", {"w": b"2"}) / "w"
    with pytest.raises(modelkeep.PathConflict, match="overwrite") as raised, api.draft("digits:v0") as draft:
        draft.add_file(new)
    assert {"digest", "other_digest"} <= raised.value.metadata.keys()
    assert draft.refresh().state == "ABORTED"
    with pytest.raises(modelkeep.EntryNotFound, match="'nothing'"), api.draft("digits:v0") as draft:
        draft.remove("w", "nothing")
    assert [one.state for one in api.drafts()][:2] == ["ABORTED", "ABORTED"]
    assert list(api.drafts(state="open")) == []
    with pytest.raises(modelkeep.InvalidArgument, match="each by itself"):
        api.draft("digits:v0").remove(["w"])  # type: ignore[arg-type]


def test_a_base_may_be_deleted_while_its_draft_is_open(tmp_path: Path, project: str) -> None:
    """SEM-41: the draft keeps the manifest."""
    api = modelkeep.Api()
    base = log(tmp_path / "in", {"w": some(), "x": b"x"})
    draft = api.draft("digits:v0")
    base.delete()
    draft.remove("x")
    version = api.open_draft(draft.id).commit()
    assert (version.name, [file.path for file in version.files()]) == ("digits:v1", ["w"])


def test_several_runs_build_one_version(tmp_path: Path, project: str) -> None:
    """SEM-42: the same file twice is fine, other content is named, finishing locks and may be repeated."""
    made = []
    for rank in range(3):
        files = {"shared.json": b"same", f"shard-{rank}.bin": some()}
        with modelkeep.init(project=project) as run:
            run.upsert_artifact(artifact(tmp_path / f"r{rank}", files), distributed_id="epoch 7")
        made.append(files)
    with modelkeep.init(project=project) as run:
        other = artifact(tmp_path / "bad", {"shared.json": b"other"})
        with pytest.raises(modelkeep.PathConflict):
            run.upsert_artifact(other, distributed_id="epoch 7")
        with pytest.raises(modelkeep.DraftNotFound, match="epoch 8"):
            run.finish_artifact("digits", distributed_id="epoch 8")
        version = run.finish_artifact("digits", distributed_id="epoch 7", aliases=["best"])
    with modelkeep.init(project=project) as run:
        assert run.finish_artifact("digits", distributed_id="epoch 7").resource_name == version.resource_name
        with pytest.raises(modelkeep.DraftNotOpen, match="digits:v0") as raised:
            run.upsert_artifact(artifact(tmp_path / "late", {"late": b"1"}), distributed_id="epoch 7")
    assert raised.value.metadata["version"] == version.resource_name
    content = {path: data for files in made for path, data in files.items()}
    assert read(version.download(tmp_path / "out")) == content


def test_a_copy_goes_to_another_project_and_remembers_where_it_came_from(tmp_path: Path, project: str) -> None:
    api = modelkeep.Api()
    content = {"w": some(1 << 20), "conf/a": b"a"}
    source = api.log_artifact(artifact(tmp_path / "in", content, metadata={"acc": 1}, notes="n"), aliases=["best"], tags=["t"])
    copied = api.copy("digits:best", f"{project}-prod/shown", aliases=["production"], tags=["ok"])
    assert (copied.project, copied.name, copied.aliases) == (f"{project}-prod", "shown:v0", ("latest", "production"))
    assert (copied.origin, copied.origin_uid) == (source.resource_name, source.uid)
    assert (copied.digest, copied.metadata, copied.notes, copied.tags) == (source.digest, {"acc": 1}, "", ("ok",))
    assert not copied.deduplicated
    again = api.copy("digits:v0", f"{project}-prod/shown", aliases=["again"])
    assert (again.deduplicated, again.resource_name, again.aliases) == (
        True,
        copied.resource_name,
        ("again", "latest", "production"),
    )
    source.delete(delete_aliases=True)
    with pytest.raises(modelkeep.VersionDeleted):
        api.copy("digits:v0", f"{project}-prod/other")
    assert read(api.artifact(f"{project}-prod/shown:production").download(tmp_path / "out")) == content


def test_a_copy_from_another_team_needs_the_right_to_read_it(tmp_path: Path, project: str, suite: Suite) -> None:
    """SEM-22: whoever may read the content gets it without sending it; nobody else does."""
    content = {"w": some(1 << 20), "x": some(10)}
    source = log(tmp_path / "in", content)
    address = f"{source.team}/{source.project}/digits:v0"
    reader = modelkeep.Api(api_key=suite.key("copy-reader", readable_teams=(source.team,)), team="copy-reader")
    copied = reader.copy(address, f"{project}/mine")
    assert (copied.team, copied.origin_uid) == ("copy-reader", source.uid)
    assert read(copied.download(tmp_path / "out")) == content
    with reader.draft(address, collection=f"{project}/drafted") as draft:
        draft.remove("x")
        drafted = draft.commit()
    assert (drafted.sent_bytes, read(drafted.download(tmp_path / "drafted"))) == (0, {"w": content["w"]})
    stranger = modelkeep.Api(api_key=suite.key("copy-stranger"), team="copy-stranger")
    for attempt in (lambda: stranger.copy(address, "p/x"), lambda: stranger.draft(address, collection="p/x")):
        with pytest.raises(modelkeep.PermissionDenied):
            attempt()


def test_a_collection_moves_with_all_that_it_has(tmp_path: Path, project: str) -> None:
    api = modelkeep.Api()
    version = log(tmp_path / "in", {"w": some()}, aliases=["best"])
    draft = api.draft("digits:v0")
    moved = api.move("digits", f"{project}-b/numbers")
    assert moved.resource_name.endswith(f"/projects/{project}-b/collections/numbers")
    api.rename(f"{project}-b/numbers", "ciphers")
    found = api.artifact(f"{project}-b/ciphers:best")
    assert (found.uid, found.number) == (version.uid, 0)
    assert len(list(api.history(f"{project}-b/ciphers"))) == 1
    names = [
        (change.from_collection.split("/")[3:], change.to_collection.split("/")[3:])
        for change in api.collection_history(f"{project}-b/ciphers")
    ]
    places = [[project, "collections", "digits"], *([f"{project}-b", "collections", name] for name in ("numbers", "ciphers"))]
    assert names == [(places[1], places[2]), (places[0], places[1])]
    assert draft.remove("w") == 1
    assert draft.refresh().resource_name.startswith(f"teams/{version.team}/projects/{project}-b/drafts/")
    with pytest.raises(modelkeep.CollectionNotFound):
        api.artifact("digits:best")
    log(tmp_path / "again", {"w": some()})
    with pytest.raises(modelkeep.CollectionExists):
        api.move(f"{project}-b/ciphers", "digits")


def test_a_folder_is_listed_without_what_lies_deeper(tmp_path: Path, project: str) -> None:
    content = {"a/1": b"1", "a/deep/er/2": b"2", "a-b": b"3", "b/3": b"4", "c": b"5"}
    version = log(tmp_path / "in", content)

    def ls(folder: str = "") -> list[str]:
        return [item.path + "/" * isinstance(item, modelkeep.Folder) for item in version.ls(folder)]

    assert ls() == ["a-b", "a/", "b/", "c"]
    assert ls("a") == ["a/1", "a/deep/"]
    assert ls("a/deep/") == ["a/deep/er/"]
    with pytest.raises(modelkeep.EntryNotFound):
        ls("nothing")


def test_what_could_not_be_sent_is_sent_by_the_next_try(tmp_path: Path, project: str) -> None:
    api = modelkeep.Api()
    log(tmp_path / "in", {"w": b"1"})
    new = write(tmp_path / "new", {"a": b"a", "b": b"b"})
    with api.draft("digits:v0") as draft:
        draft.add_file(new / "a")
        (new / "a").rename(new / "away")
        with pytest.raises(modelkeep.FileUnreadable):
            draft.flush()
        draft.add_file(new / "b")
        (new / "away").rename(new / "a")
        draft.flush()
        version = draft.commit()
    assert read(version.download(tmp_path / "out")) == {"w": b"1", "a": b"a", "b": b"b"}


def test_a_run_finishes_nothing_without_the_files_that_it_could_not_add(tmp_path: Path, project: str) -> None:
    made = artifact(tmp_path / "in", {"a": b"a"})
    with modelkeep.init() as run:
        run.upsert_artifact(artifact(tmp_path / "first", {"b": b"b"}), distributed_id="one")
        (tmp_path / "in" / "a").rename(tmp_path / "away")
        with pytest.raises(modelkeep.FileUnreadable):
            run.finish_artifact(made, distributed_id="one")
        (tmp_path / "away").rename(tmp_path / "in" / "a")
        version = run.finish_artifact(made, distributed_id="one")
    assert read(version.download(tmp_path / "out")) == {"a": b"a", "b": b"b"}


def test_what_is_added_counts_in_the_order_of_the_calls(tmp_path: Path, project: str) -> None:
    """SEM-41: whoever flushes only at the end is told of the same conflicts, and gets the same files."""
    api = modelkeep.Api()
    log(tmp_path / "in", {"w": b"1"})
    new = write(tmp_path / "new", {"x1": b"one", "x2": b"two", "x3": b"three"})
    draft = api.draft("digits:v0")
    draft.add_file(new / "x1", "new", overwrite=True)
    draft.add_file(new / "x2", "new")
    with pytest.raises(modelkeep.PathConflict, match="'new'"):
        draft.commit()
    draft.add_file(new / "x2", "new", overwrite=True)
    draft.add_file(new / "x2", "late")
    draft.add_file(new / "x3", "late", overwrite=True)
    version = draft.commit()
    assert read(version.download(tmp_path / "out")) == {"w": b"1", "new": b"two", "late": b"three"}


def test_a_draft_takes_the_same_path_again(tmp_path: Path, project: str) -> None:
    """SEM-41: the same content may come again, and what overwrites overwrites what came just before."""
    api = modelkeep.Api()
    new = write(tmp_path / "new", {"x1": b"one", "x2": b"two", "folder/a": b"a"})
    with api.draft("digits", "model") as draft:
        draft.add_file(new / "x1")
        draft.add_file(new / "x1")
        draft.add_dir(new)
        draft.add_file(new / "x1", "y", overwrite=True)
        draft.add_file(new / "x2", "y", overwrite=True)
        version = draft.commit()
    expected = {"x1": b"one", "x2": b"two", "folder/a": b"a", "y": b"two"}
    assert read(version.download(tmp_path / "out")) == expected
    draft = api.draft("digits:v0")
    draft.add_file(new / "x1", "z")
    draft.add_file(new / "x2", "z")
    with pytest.raises(modelkeep.PathConflict):
        draft.flush()


def test_who_finishes_again_says_nothing_new(tmp_path: Path, project: str) -> None:
    """SEM-14, 42: the same words again get the version, from another run and after the alias moved on; others are refused."""
    words = {"aliases": ["best"], "tags": ["t"]}
    about = artifact(tmp_path / "in", {"a": b"a"}, metadata={"acc": 1})
    with modelkeep.init() as run:
        version = run.finish_artifact(shared(run, about), distributed_id="one", **words)
    modelkeep.Api().log_artifact(artifact(tmp_path / "next", {"a": b"b"}), aliases=["best"])
    with modelkeep.init() as run:
        for said in ({}, {"aliases": ["best"]}, words):
            assert run.finish_artifact("digits", distributed_id="one", **said).uid == version.uid
        for said, named in (({"aliases": ["zeta"]}, "alias 'zeta'"), ({"tags": ["u"]}, "tags")):
            with pytest.raises(modelkeep.DraftCommitted, match=named) as raised:
                run.finish_artifact("digits", distributed_id="one", **said)
            assert raised.value.metadata["version"] == version.resource_name
        about.metadata["acc"] = 2
        with pytest.raises(modelkeep.DraftCommitted, match="metadata"):
            run.finish_artifact(about, distributed_id="one")
    with modelkeep.init() as run:  # content that was there takes no words, whoever finishes
        made = artifact(tmp_path / "same", {"a": b"a"}, metadata={"acc": 3})
        assert run.finish_artifact(shared(run, made, "two"), distributed_id="two").uid == version.uid
    with modelkeep.init() as run:
        assert run.finish_artifact(made, distributed_id="two").uid == version.uid


def shared(run: modelkeep.Run, made: modelkeep.Artifact, distributed_id: str = "one") -> modelkeep.Artifact:
    run.upsert_artifact(made, distributed_id=distributed_id)
    return made
