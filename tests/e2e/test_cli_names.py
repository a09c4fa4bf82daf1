"""Aliases, tags, projects and keys from a shell."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.conftest import Cli
from tests.suites import Suite


def test_an_alias_moves_by_compare_and_set_and_remembers(cli: Cli):
    """SEM-16, 17."""
    for content in ("1", "2"):
        cli.put("m", f=content)
    assert cli("alias", "set", "m:v0", "production", "--expect", "none", "--reason", "first", "--json").json["version"] == "v0"
    stale = cli("alias", "set", "m:v1", "production", "--expect", "v1", "--json")
    assert (stale.code, stale.error["reason"]) == (1, "ALIAS_CHANGED")
    assert stale.error["metadata"]["current"].endswith("/m/versions/v0")
    assert cli("alias", "set", "m:v1", "production", "--expect", "v0", "--reason", "eval 142").code == 0
    assert cli("show", "m:production", "--json").json["version"] == "v1"
    assert [(a["alias"], a["version"]) for a in cli("alias", "ls", "m", "--json").json][-1] == ("production", "v1")
    assert cli("alias", "rm", "m", "production", "--expect", "v1").code == 0
    changes = cli("history", "m", "production", "--json").json
    assert [(c["from_version"], c["to_version"], c["reason"]) for c in changes] == [
        ("v1", "", ""),
        ("v0", "v1", "eval 142"),
        ("", "v0", "first"),
    ]
    assert [c["seq"] for c in changes] == [3, 2, 1]
    when = changes[1]["change_time"]
    assert cli("show", f"m:production@{when}", "--json").json["version"] == "v1"
    assert "eval 142" in cli("history", "m").out


def test_a_rule_keeps_an_alias_and_what_is_not_better_is_not_logged(cli: Cli):
    cli.put("m", "--metadata", '{"acc": 0.5}', f="one")
    assert cli("alias", "rule", "set", "m", "best", "argmax(metadata.acc)", "--json").json["version"] == "v0"
    better = cli.put("m", "--metadata", '{"acc": 0.9}', "--only-if-better", "acc:max", f="two")
    assert (better["name"], better["comparison"]["best_value"], better["comparison"]["is_better"]) == ("m:v1", 0.5, True)
    worse = cli.put("m", "--metadata", '{"acc": 0.7}', "--only-if-better", "acc:max", f="three")
    assert (worse["name"], worse["comparison"]["best_version"], worse["comparison"]["is_better"]) == ("m:v1", "v1", False)
    told = cli(
        "put", "put/m", "--name", "m", "--type", "model", "--metadata", '{"acc": 0.7}', "--only-if-better", "acc:max"
    ).out
    assert told == "nothing was logged, m:v1 stays the best: acc 0.7 is not better than the 0.9 of v1 (max)\n"
    refused = cli("alias", "set", "m:v0", "best", "--json")
    assert (refused.code, refused.error["reason"]) == (1, "ALIAS_RULED")
    (rule,) = cli("alias", "rule", "ls", "m", "--json").json
    assert (rule["alias"], rule["expression"], rule["version"]) == ("best", "argmax(metadata.acc)", "v1")
    assert "argmax(metadata.acc)" in cli("alias", "rule", "ls", "m").out
    assert "rule: argmax(metadata.acc)" in cli("history", "m", "best").out
    assert cli("alias", "rule", "rm", "m", "best", "--json").json["version"] == "v1"
    assert cli("alias", "set", "m:v0", "best").code == 0
    assert cli("alias", "rule", "ls", "m").out == ""
    wrong = cli("alias", "rule", "set", "m", "best", "argmax(acc)", "--json")
    assert (wrong.code, wrong.error["reason"]) == (2, "INVALID_FILTER")


def test_tags(cli: Cli):
    """SEM-19."""
    cli.put("m")
    assert cli("tag", "add", "m", "nightly", "release candidate", "--json").json["tags"] == ["nightly", "release candidate"]
    assert cli("tag", "rm", "m:v0", "nightly", "unknown", "--json").json["tags"] == ["release candidate"]


def test_projects(cli: Cli, project: str):
    made = cli("project", "create", project, "--description", "About *digits*.", "--json").json
    assert (made["name"], made["description"]) == (project, "About *digits*.")
    again = cli("project", "create", project, "--json")
    assert (again.code, again.error["reason"]) == (1, "PROJECT_EXISTS")
    assert cli("project", "edit", project, "--description", "More.", "--json").json["description"] == "More."
    assert cli("project", "show", project, "--json").json["description"] == "More."
    assert project in [p["name"] for p in cli("project", "ls", "--json").json]
    assert cli("project", "show", "nosuch").code == 3


def test_keys(cli: Cli, cli_with: Callable[[str], Cli], suite: Suite):
    """A key is shown once, does what its role says, and can be ended."""
    made = cli("key", "create", "--name", "reader", "--role", "read", "--expires", "30d", "--json").json
    listed = next(k for k in cli("key", "ls", "--json").json if k["id"] == made["id"])
    assert "secret" not in listed
    assert (listed["display_name"], listed["role"], bool(listed["expire_time"]), listed["revoke_time"]) == (
        "reader",
        "read",
        True,
        "",
    )
    cli.put("m")
    reader = cli_with(made["secret"])
    assert reader("show", "m").code == 0
    refused = reader("alias", "set", "m", "best", "--json")
    assert (refused.code, refused.error["reason"]) == (4, "PERMISSION_DENIED")
    assert "write" in refused.error["message"]
    assert reader("key", "ls").code == 4
    assert cli("key", "revoke", made["id"], "--json").json["revoke_time"]
    ended = reader("show", "m", "--json")
    assert (ended.code, ended.error["reason"]) == (4, "API_KEY_INVALID")


def test_another_team_sees_nothing(cli: Cli, cli_with: Callable[[str], Cli], suite: Suite, project: str):
    cli.put("m", "--alias", "best", secret="content of the first team")
    stranger = cli_with(suite.key("strangers"))
    assert stranger("show", "m").code == 3
    assert stranger("show", f"default/{project}/m", "--json").error["reason"] == "PERMISSION_DENIED"
    assert stranger("get", f"default/{project}/m:best", "out").code == 4
    friend = cli_with(suite.key("friends", readable_teams=("default",)))
    assert friend("get", f"default/{project}/m:best", "out").code == 0
    assert (cli.folder / "out/secret").read_text() == "content of the first team"
    assert friend("alias", "set", f"default/{project}/m:best", "mine").code == 4


@pytest.mark.parametrize("expires", ["0d", "1", "d", "1y", "-1d", "99999999d"])
def test_no_duration(cli: Cli, expires: str):
    assert cli("key", "create", f"--expires={expires}").code == 2
