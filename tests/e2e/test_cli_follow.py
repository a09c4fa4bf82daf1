"""`modelkeep follow`: a serving node from a shell."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli
from tests.e2e.following import Following
from tests.servers import wait_until

pytestmark = pytest.mark.one_topology
NOTE = (
    """printf '%s %s %s\\n' "$MODELKEEP_VERSION" "$(cat "$MODELKEEP_PATH/f")" "$(cat "$MODELKEEP_CURRENT/f")" >> told; exit 3"""
)


def test_a_node_follows_and_tells(cli: Cli, tmp_path: Path):
    """One life of a node: it waits, loads, switches, runs the command, shows all of it, and ends when it is told to."""
    cli.put("m", f="one")
    command = ["--ready-file", "ready", "--", "sh", "-c", NOTE]
    with Following(cli.env, tmp_path, *command) as node:
        node.until(lambda status: "alias" in status["errors"], "the alias to be missed")
        assert node.page("ready")[0] == 503
        assert not (tmp_path / "ready").exists()
        assert cli("alias", "set", "m:v0", "production").code == 0
        node.until_loaded("v0")
        assert (node.page("ready")[0], node.content()) == (200, {"f": b"one"})
        cli.put("m", "--alias", "production", f="two")
        node.until_loaded("v1")
        assert node.content() == {"f": b"two"}
        wait_until(lambda: (tmp_path / "told").read_text().count("\n") == 2, "the command")
        assert (tmp_path / "told").read_text() == "v0 one one\nv1 two two\n"
        ended = {"version": "v1", "exit_code": 3}
        node.until(lambda status: status["command"] == ended and "on_change" in status["errors"], "its failure to be told")
        status = node.status
        assert "exit code 3" in status["errors"]["on_change"]["message"]
        assert (status["seen"]["seq"], status["loaded"]["seq"], status["behind"], status["stale"]) == (2, 2, False, False)
        assert json.loads((tmp_path / "ready").read_text())["version"] == "v1"
        other = cli("follow", "m:production", "--root", node.root)
        assert other.code == 1
        assert f"process {node.process.pid}" in other.err
        assert node.page("nosuch")[0] == 404
        assert node.end(signal.SIGTERM) == 0, node.said
        assert not (tmp_path / "ready").exists()
        assert node.content() == {"f": b"two"}
        assert "m:v0 is loaded" in node.said
    other = cli("follow", "m:staging", "--root", node.root)
    assert other.code == 1
    assert "choose another folder" in other.err


def test_the_command_runs_though_nobody_reads_what_is_said(cli: Cli, tmp_path: Path):
    cli.put("m", "--alias", "production", f="one")
    reading, writing = os.pipe()
    os.close(reading)
    with Following(cli.env, tmp_path, "--", "sh", "-c", NOTE, out=writing):
        os.close(writing)
        wait_until(
            lambda: (tmp_path / "told").exists() and (tmp_path / "told").read_text() == "v0 one one\n", "the command", 60
        )


def test_what_no_patience_helps_against_ends_it(cli: Cli):
    done = cli("follow", "nosuch:production", "--root", "node", "--require-signature")
    assert (done.code, "--key" in done.err) == (2, True), done.err
    done = cli("follow", "nosuch:production", "--root", "node")
    assert (done.code, "nosuch" in done.err) == (3, True), done.err
