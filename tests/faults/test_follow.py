"""Serving nodes and the end of things: a node that is killed, a server that is away, a server that stops (R1, R11, R17)."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import modelkeep
import pytest

from tests.contract.sdk import artifact, read, some
from tests.e2e.following import Following
from tests.faults.supervisor import Supervised
from tests.servers import wait_until
from tests.unit.sdk.watched import forget_contact

CYCLES = 4


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Supervised]:
    """A server whose drain would wait for ten minutes, if anybody made it wait."""
    (tmp_path / "server").mkdir()
    supervised = Supervised(tmp_path / "server", {"MODELKEEP_RUNTIME__DRAIN_SECONDS": "600", "MODELKEEP_PROJECT": "nodes"})
    supervised.start()
    yield supervised
    supervised.kill()


def client(server: Supervised) -> modelkeep.Api:
    return modelkeep.Api(server.found["url"], server.found["api_key"], project="nodes")


def log(server: Supervised, tmp_path: Path, *aliases: str) -> dict[str, bytes]:
    """Log a version of several files; its content."""
    content = {f"part-{number}": some(150_000) for number in range(6)}
    client(server).log_artifact(artifact(tmp_path / "source" / str(random.random()), content, "m"), aliases=aliases)
    return content


def left(node: Path) -> set[str]:
    """Which versions have anything in the folder of a node."""
    return {path.name.partition("-")[0] for path in (node / "versions").iterdir()}


def test_kill_9_leaves_current_whole(server: Supervised, tmp_path: Path) -> None:
    """Whenever the node dies, `current` leads to one version, with all of its files."""
    contents = [log(server, tmp_path, "production") for _ in range(3)]
    api, over = client(server), threading.Event()

    def keep_moving() -> None:
        while not over.is_set():
            for number in range(3):
                api.promote(f"m:v{number}", "production")
                over.wait(0.03)

    moving = threading.Thread(target=keep_moving)
    moving.start()
    dice = random.Random(7)
    try:
        for cycle in range(CYCLES):
            with Following(server.client_env, tmp_path, "--keep", "1") as node:
                node.until(lambda status, cycle=cycle: status["ready"] or cycle == 0, "the begin of its work")
                sleep(dice.uniform(0, 0.7))  # the random moment of the kill
                node.kill()
            current = tmp_path / "node" / "current"
            if cycle or current.is_symlink():
                assert read(current) in contents, node.said
    finally:
        over.set()
        moving.join()
    api.promote("m:v1", "production")
    with Following(server.client_env, tmp_path, "--keep", "1") as node:
        node.until(lambda status: status["loaded"] and status["loaded"]["version"] == "v1" and not status["behind"], "rest")
        node.until(lambda _: left(tmp_path / "node") == {"v1"}, "what the killed ones left behind to go")
        assert read(tmp_path / "node" / "current") == contents[1]
        assert node.end() == 0, node.said
    assert {path.name for path in (tmp_path / "node").iterdir()} == {".follow.lock", "current", "follow.json", "versions"}


def test_a_node_serves_while_the_server_is_away(server: Supervised, tmp_path: Path) -> None:
    """R17: from the first second on, as a version lies there; and it follows again when the server is back."""
    first = log(server, tmp_path, "production")
    with Following(server.client_env, tmp_path) as node:
        node.until_loaded("v0")
        server.kill()
        node.until(lambda status: "watch" in status["errors"], "the loss of the server to be told")
        assert (node.page("ready")[0], node.content()) == (200, first)
    forget_contact(tmp_path / "node")
    with Following(server.client_env, tmp_path) as node:
        node.until(lambda status: status["stale"], "the age to be told")
        assert (node.page("ready")[0], node.content()) == (200, first)
        wait_until(lambda: "was not heard of" in node.said, "the age to be logged")
        server.start()
        second = log(server, tmp_path, "production")
        node.until_loaded("v1")
        assert node.content() == second


def test_a_server_that_stops_does_not_wait_for_its_nodes(server: Supervised, tmp_path: Path) -> None:
    """R11: the watches end first, and the nodes come back to whoever serves next."""
    log(server, tmp_path, "production")
    with Following(server.client_env, tmp_path) as node:
        node.until_loaded("v0")
        server.stop()  # it has a minute, and its drain ten
        node.until(lambda status: "watch" in status["errors"], "the loss of the server to be told")
        server.start()
        log(server, tmp_path, "production")
        node.until_loaded("v1")
