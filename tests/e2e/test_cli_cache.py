"""`modelkeep cache`: what this machine keeps, less of it, and whether it is good; and `get --link`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli

MIB = 1 << 20


@pytest.fixture
def cached(cli: Cli, tmp_path: Path) -> Path:
    """The cache folder, with a version of a large and a small file in it."""
    folder = tmp_path / "cache"
    cli.env["MODELKEEP_CACHE_DIR"] = str(folder)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "large").write_bytes(os.urandom(9 * MIB))
    (tmp_path / "files" / "small").write_bytes(os.urandom(1000))
    assert cli("put", str(tmp_path / "files"), "--name", "digits", "--type", "model").code == 0
    assert cli("get", "digits", str(tmp_path / "out")).code == 0
    return folder


@pytest.mark.one_topology
def test_the_cache_is_listed_verified_and_trimmed(cli: Cli, cached: Path) -> None:
    entries = cli("cache", "ls", "--json").json
    assert sorted(entry["size_bytes"] for entry in entries if entry["kind"] == "objects") == [1000, 9 * MIB]
    assert {entry["kind"] for entry in entries} == {"objects", "manifests", "records"}
    shown = cli("cache", "ls")
    assert "9.0 MiB" in shown.out
    assert str(cached) in shown.err
    assert cli("cache", "verify", "--json").json["entry_count"] == len(entries)
    large = next(path for path in (cached / "objects").rglob("*") if path.is_file() and path.stat().st_size == 9 * MIB)
    large.chmod(0o600)
    with large.open("r+b") as file:
        file.write(b"rotten")
    failed = cli("cache", "verify")
    assert failed.code == 1
    assert failed.err.count(large.name) == 1
    assert not large.exists()
    assert cli("cache", "verify", "--json").json["entry_count"] == len(entries) - 1
    assert cli("cache", "trim", "--to", "1", "--json").json["removed_count"] == len(entries) - 1
    assert cli("cache", "ls", "--json").json == []


@pytest.mark.one_topology
def test_words_that_are_no_size_are_refused(cli: Cli) -> None:
    assert cli("cache", "trim", "--to", "much").code == 2
    cli.env["MODELKEEP_CACHE_BYTES"] = "-1"
    failed = cli("cache", "ls")
    assert failed.code == 2
    assert "MODELKEEP_CACHE_BYTES" in failed.err


@pytest.mark.one_topology
def test_links_share_what_the_cache_has(cli: Cli, cached: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    assert cli("get", "digits", str(linked), "--link").code == 0
    found = (linked / "large").stat()
    assert found.st_nlink == 2
    assert found.st_mode & 0o222 == 0
    assert (linked / "large").read_bytes() == (tmp_path / "files" / "large").read_bytes()
    assert (linked / "small").stat().st_nlink == 1
    assert cli("get", "digits", str(linked), "--link").code == 0
    assert cli("get", "digits", str(linked), "--link", "--checkout").code == 2
