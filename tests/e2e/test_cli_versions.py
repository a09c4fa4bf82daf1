"""The main job from a shell: put, get, show, verify, edit, rm, restore."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli

ROOT = Path(__file__).parents[2]


def same(one: Path, other: Path) -> bool:
    """`diff -r` finds nothing."""
    compared = filecmp.dircmp(one, other, ignore=[])
    if compared.left_only or compared.right_only or compared.funny_files:
        return False
    _, different, errors = filecmp.cmpfiles(one, other, compared.common_files, shallow=False)
    return not different and not errors and all(same(one / name, other / name) for name in compared.common_dirs)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Real files: the sources of the product, with an empty file, a long one and an executable one among them."""
    folder = tmp_path / "src"
    shutil.copytree(ROOT / "clients/python/modelkeep", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "empty").touch()
    (folder / "long.bin").write_bytes(b"".join(i.to_bytes(4, "big") for i in range(900_000)))
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "Größe 模型").mkdir()
    (folder / "Größe 模型" / "a b;c#d?e%.txt").write_text("x")
    return folder


def test_what_is_put_is_what_is_got(cli: Cli, source: Path):
    logged = cli("put", source, "--name", "code", "--type", "code", "--json").json
    assert (logged["name"], logged["version"], logged["deduplicated"], logged["aliases"]) == (
        "code:v0",
        "v0",
        False,
        ["latest"],
    )
    assert logged["stored_bytes"] == sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    got = cli("get", "code:latest", "out")
    assert got.code == 0, got.err
    assert same(source, cli.folder / "out")
    assert os.access(cli.folder / "out/run.sh", os.X_OK)
    assert (cli.folder / "out/empty").stat().st_mode & 0o111 == 0
    assert cli("verify", "code", "out").code == 0


def test_putting_it_again_makes_no_version_and_sends_nothing(cli: Cli, source: Path):
    """SEM-11."""
    first = cli("put", source, "--name", "code", "--type", "code", "--json").json
    again = cli("put", source, "--name", "code", "--type", "code", "--alias", "stable", "--json").json
    assert again["deduplicated"]
    assert again["sent_bytes"] == 0
    assert (again["name"], again["digest"]) == (first["name"], first["digest"])
    assert again["aliases"] == ["latest", "stable"]


def test_several_paths_keep_their_names(cli: Cli):
    for name in ("a", "b"):
        (cli.folder / name).mkdir()
        (cli.folder / name / "f").write_text(name)
    (cli.folder / "c").write_text("c")
    assert cli("put", "a", "b", "c", "--name", "m", "--type", "model").code == 0
    files = cli("ls", "--files", "m", "--json").json
    assert [(f["path"], f["size_bytes"]) for f in files] == [("a/f", 1), ("b/f", 1), ("c", 1)]


def test_words_go_with_a_version(cli: Cli):
    """SEM-15."""
    words = ["--metadata", '{"acc": 0.91, "steps": 9007199254740993}', "--description", "The **first**.", "--tag", "nightly"]
    cli.put("m", *words)
    shown = cli("show", "m", "--json").json
    assert shown["metadata"] == {"acc": 0.91, "steps": 9007199254740993}
    assert (shown["description"], shown["tags"], shown["type"]) == ("The **first**.", ["nightly"], "model")
    edited = cli("edit", "m:v0", "--notes", "Seen.", "--metadata", "@-", "--json", stdin='{"acc": 0.92}').json
    assert (edited["notes"], edited["metadata"], edited["name"]) == ("Seen.", {"acc": 0.92}, "m:v0")
    (cli.folder / "meta.json").write_text('{"acc": 0.93}')
    assert cli("edit", "m", "--metadata", "@meta.json", "--json").json["metadata"] == {"acc": 0.93}
    text = cli("show", "m").out
    for word in ("m:v0", "The **first**.", "Seen.", "0.93", "nightly", shown["digest"]):
        assert word in text


def test_get_takes_a_part_and_leaves_what_it_does_not_know(cli: Cli):
    """SEM-37."""
    (cli.folder / "src/tok").mkdir(parents=True)
    for name in ("src/tok/a", "src/tok/b", "src/tok.json", "src/m.bin"):
        (cli.folder / name).write_text(name)
    assert cli("put", "src", "--name", "m", "--type", "model").code == 0
    (cli.folder / "out").mkdir()
    (cli.folder / "out/mine").write_text("mine")
    assert cli("get", "m", "out", "--path", "tok").code == 0
    found = sorted(p.relative_to(cli.folder / "out").as_posix() for p in (cli.folder / "out").rglob("*") if p.is_file())
    assert found == ["mine", "tok/a", "tok/b"]
    assert cli("get", "m", "out", "--durable").code == 0
    assert (cli.folder / "out/mine").exists()
    assert cli("get", "m", "out", "--checkout").code == 0
    assert same(cli.folder / "src", cli.folder / "out")


def test_get_without_a_folder_makes_one(cli: Cli):
    cli.put("m", weights="w")
    answer = cli("get", "m:latest", "--json").json
    assert (cli.folder / answer["path"] / "weights").read_text() == "w"


def test_verify_tells_every_difference(cli: Cli):
    """SEM-38."""
    cli.put("m", a="1", b="2", c="3")
    cli("get", "m", "out")
    (cli.folder / "out/a").write_text("9")
    (cli.folder / "out/b").unlink()
    (cli.folder / "out/d").write_text("4")
    done = cli("verify", "m", "out")
    assert done.code == 1
    for name in ("a", "b", "d"):
        assert f"{name}" in done.err
    assert cli("verify", "m", "out", "--json").error["reason"] == "VERIFICATION_FAILED"


def test_a_deleted_version_says_who_and_why_and_comes_back(cli: Cli):
    """SEM-40, 43, 44."""
    cli.put("m", "--alias", "best", a="1")
    refused = cli("rm", "m:v0", "--yes", "--json")
    assert (refused.code, refused.error["reason"]) == (1, "VERSION_ALIASED")
    assert "best" in refused.error["message"]
    assert cli("rm", "m:v0", "--yes", "--delete-aliases", "--reason", "wrong data").code == 0
    gone = cli("show", "m:v0", "--json")
    assert (gone.code, gone.error["reason"]) == (1, "VERSION_DELETED")
    assert "wrong data" in gone.err
    assert [(v["name"], v["state"]) for v in cli("ls", "m", "--deleted", "--json").json] == [("m:v0", "DELETED")]
    assert cli("ls", "m", "--json").json == []
    assert cli("restore", "m:v0", "--json").json["state"] == "COMMITTED"
    assert cli("show", "m", "--json").json["aliases"] == ["latest"]


def test_rm_asks_and_without_anybody_to_ask_refuses(cli: Cli):
    cli.put("m")
    done = cli("rm", "m:v0")
    assert (done.code, "--yes" in done.err) == (2, True)
    assert cli("show", "m").code == 0


def test_an_address_reaches_into_another_project(cli: Cli, project: str):
    """SEM-3."""
    logged = cli.put("m")
    assert cli("show", f"{project}/m:v0", "--json", MODELKEEP_PROJECT="default").json["digest"] == logged["digest"]
    assert cli("show", "m", "--project", project, "--json", MODELKEEP_PROJECT="default").json["digest"] == logged["digest"]
    assert cli("--project", project, "show", "m", "--json", MODELKEEP_PROJECT="x").json["digest"] == logged["digest"]
    assert cli("show", f"m@{logged['digest'][:15]}", "--json").json["name"] == "m:v0"


def test_lists(cli: Cli):
    """SEM-53."""
    assert cli("ls", "--json").error["reason"] == "PROJECT_NOT_FOUND"
    for name in ("a", "b"):
        for content in ("1", "2"):
            cli.put(name, type=f"kind-{name}", f=content)
    collections = cli("ls", "--json").json
    assert [(c["name"], c["type"], c["version_count"], c["latest_version"]) for c in collections] == [
        ("a", "kind-a", 2, "v1"),
        ("b", "kind-b", 2, "v1"),
    ]
    assert [c["name"] for c in cli("ls", "--type", "kind-b", "--json").json] == ["b"]
    assert [v["name"] for v in cli("ls", "a", "--json").json] == ["a:v1", "a:v0"]
    assert "a:v1" in cli("ls", "a").out


def test_json_keeps_its_names(cli: Cli):
    """Scripts rely on them: names may be added, never changed."""
    logged = cli.put("m", "--alias", "best")
    about = {
        "name",
        "resource_name",
        "uid",
        "version",
        "collection",
        "type",
        "state",
        "digest",
        "aliases",
        "tags",
        "description",
    }
    about |= {
        "notes",
        "metadata",
        "entry_count",
        "stored_bytes",
        "referenced_bytes",
        "total_bytes",
        "create_time",
        "update_time",
        "verified_time",
    }
    about |= {"creator", "run", "run_display_name", "uses", "tombstone"}
    assert set(cli("show", "m", "--json").json) >= about
    assert set(logged) >= about | {"deduplicated", "sent_bytes"}
    assert set(cli("ls", "--json").json[0]) >= {"name", "type", "description", "latest_version", "version_count", "create_time"}
    assert set(cli("ls", "-f", "m", "--json").json[0]) >= {"path", "digest", "size_bytes", "executable"}
    assert set(cli("alias", "ls", "m", "--json").json[0]) >= {"alias", "version", "seq", "update_time", "actor", "reason"}
    changes = cli("history", "m", "--json").json
    assert set(changes[0]) >= {"alias", "seq", "from_version", "to_version", "change_time", "actor", "reason"}
    assert json.dumps(changes)
