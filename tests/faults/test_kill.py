"""R1: whatever is killed, and whenever: no acknowledged version is lost, and nothing is ever half there (I1 to I3, I5)."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import modelkeep
import pytest

from tests.faults.supervisor import Supervised, spawn
from tests.servers import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Supervised]:
    supervised = Supervised(tmp_path)
    supervised.start()
    yield supervised
    supervised.kill()


def test_who_found_the_server_by_its_file_finds_it_again_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start has a key of its own. A script goes on with the new one; a key that somebody stated is theirs, and stays."""
    server = Supervised(tmp_path, {"MODELKEEP_RUNTIME__TOKEN_SECONDS": "1"})
    server.start()
    monkeypatch.setenv("MODELKEEP_CONFIG_HOME", str(tmp_path / "config"))
    found = modelkeep.Api(project="faults")
    stated = found_by(server)
    for api in (found, stated):
        assert list(api.projects()) == []
    server.kill()
    server.start()
    wait_until(lambda: refused(stated), "the end of the access token of before")
    assert list(found.projects()) == []
    server.kill()


def refused(api: modelkeep.Api) -> bool:
    try:
        list(api.projects())
    except modelkeep.ApiKeyInvalid:
        return True
    return False


def found_by(server: Supervised) -> modelkeep.Api:
    """A client of the server as it runs now."""
    found = server.found
    return modelkeep.Api(url=found["url"], api_key=found["api_key"], project="faults")


def acknowledged(process: subprocess.Popen[str]) -> list[dict[str, str]]:
    """What a writer was told is committed, up to its end."""
    out, _ = process.communicate(timeout=120)
    lines = [json.loads(line) for line in out.splitlines() if line.endswith("}")]
    return [line for line in lines if "digest" in line]


def assert_all_there(server: Supervised, versions: list[dict[str, str]], folder: Path) -> None:
    api = found_by(server)
    numbers = [version["name"] for version in versions]
    assert len(set(numbers)) == len(numbers), "a number was given twice (SEM-9)"
    for version in versions:
        stored = api.artifact(version["name"])
        assert str(stored.digest) == version["digest"]
        stored.download(folder / version["name"].replace(":", "-"))


def assert_graph_whole(server: Supervised, versions: list[dict[str, str]]) -> None:
    """Whoever kept the graph was killed between events, and in the midst of them: each is in it, and counts once."""
    api = found_by(server)
    for version in versions:
        makers = [link.node.resource_name for link in api.artifact(version["name"]).produced_by()]
        assert [maker.rpartition("/")[2] for maker in makers] == [version["run"]]


def cycles(server: Supervised, tmp_path: Path, count: int, *, check_each: int) -> None:
    dice = random.Random(count)
    kept: list[dict[str, str]] = []
    for cycle in range(count):
        writers = [spawn(server, "things", str(cycle * 10 + writer), "6") for writer in range(2)]
        sleep(dice.uniform(0.8, 3.0))  # the random moment of the kill
        victim = dice.choice(["server", "client", "both"])
        if victim != "client":
            server.kill()
        if victim != "server":
            writers[0].kill()
        if victim != "client":
            server.start()
        for writer in writers:
            kept += acknowledged(writer)
        if (cycle + 1) % check_each == 0:
            assert_all_there(server, kept[-20:], tmp_path / f"out-{cycle}")
    assert_all_there(server, kept, tmp_path / "all")
    assert kept, "nothing was acknowledged, so nothing was tested"
    assert_graph_whole(server, kept)
    server.stop()
    server.reread_events()
    server.start()
    assert_graph_whole(server, kept)
    server.stop()
    checked = server.fsck(deep=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_graph_is_read_on_at_once_after_a_kill(server: Supervised, tmp_path: Path) -> None:
    """Who owned it had a lease for half a minute more, and nobody else can serve its file."""
    (tmp_path / "a.bin").write_bytes(b"a")
    api = found_by(server)
    artifact = modelkeep.Artifact("things", type="model")
    artifact.add_file(tmp_path / "a.bin")
    api.log_artifact(artifact)
    assert not api.lineage("things:v0").lagging
    server.kill()
    server.reread_events()
    server.start()
    api = found_by(server)
    assert not api.lineage("things:v0").lagging


def test_kill_9_loses_nothing_acknowledged(server: Supervised, tmp_path: Path) -> None:
    cycles(server, tmp_path, 4, check_each=2)


@pytest.mark.soak
@pytest.mark.timeout(14_400)
def test_kill_9_a_thousand_times(server: Supervised, tmp_path: Path) -> None:
    cycles(server, tmp_path, 1_000, check_each=50)
