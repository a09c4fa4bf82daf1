"""Signing from a shell: keys, `sign`, `signatures`, `verify --key`, `get --require-signature`."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli
from tests.e2e.following import Following

pytestmark = pytest.mark.one_topology


def make_key(cli: Cli, name: str, **env: str) -> str:
    """Make a key; its id."""
    key_id: str = cli("signing-key", "create", "--out", f"{name}.pem", "--json", **env).json["key_id"]
    return key_id


def test_a_version_is_signed_listed_verified_and_required(cli: Cli):
    mine, other = make_key(cli, "mine"), make_key(cli, "other")
    version = cli.put("m", f="one", g="two")
    missing = cli("get", "m", "out", "--require-signature", "--key", "mine.pub.pem", "--json")
    assert (missing.code, missing.error["reason"]) == (1, "SIGNATURE_MISSING")
    assert "nobody signed it" in missing.error["message"]
    assert not (cli.folder / "out").exists(), "nothing is written before the signature is known to be good"
    signed = cli("sign", "m:latest", "--key", "mine.pem", "--comment", "eval 142", "--json").json
    assert (signed["key_id"], signed["comment"], signed["digest"]) == (mine, "eval 142", version["digest"])
    assert [one["key_id"] for one in cli("signatures", "m", "--json").json] == [mine]
    assert cli("get", "m", "out", "--key", "other.pub.pem", "--key", "mine.pub.pem").code == 0
    verified = cli("verify", "m", "out", "--key", "mine.pub.pem", "--json").json
    assert (verified["signature"]["key_id"], verified["path"]) == (mine, "out")
    (cli.folder / "out/f").write_text("changed")
    assert cli("verify", "m", "out", "--key", "mine.pub.pem").code == 1
    refused = cli("verify", "m", "--key", "other.pub.pem", "--json")
    assert (refused.code, refused.error["reason"]) == (1, "SIGNATURE_MISSING")
    assert mine in refused.error["message"]
    assert other in refused.error["message"]


def test_a_node_loads_only_what_is_signed_and_ctrl_c_ends_it(cli: Cli, tmp_path: Path):
    make_key(cli, "mine")
    cli.put("m", "--alias", "production", f="one")
    assert cli("sign", "m:v0", "--key", "mine.pem").code == 0
    with Following(cli.env, tmp_path, "--require-signature", "--key", "mine.pub.pem") as node:
        node.until_loaded("v0")
        cli.put("m", "--alias", "production", f="two")
        node.until(lambda status: "load" in status["errors"], "the missing signature to be told")
        assert node.status["errors"]["load"]["reason"] == "SIGNATURE_MISSING"
        assert (node.content(), node.status["behind"]) == ({"f": b"one"}, True)
        assert cli("sign", "m:v1", "--key", "mine.pem").code == 0
        node.until_loaded("v1")
        assert node.content() == {"f": b"two"}
        assert node.end(signal.SIGINT) == 130
