"""`draft`, `copy`, `mv`, `names` and `files`: versions made from others, on the command line."""

from tests.e2e.conftest import Cli


def put(cli: Cli, files: dict[str, bytes]) -> None:
    """Log some files as `m`."""
    for path, data in files.items():
        place = cli.folder / "in" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    cli("put", cli.folder / "in", "--name", "m", "--type", "model", "--json").json  # noqa: B018 - it fails unless all went well


def test_a_draft_step_by_step(cli: Cli):
    """SEM-41: each step is a process of its own."""
    put(cli, {"w": b"1", "conf/a": b"a", "conf/b": b"b"})
    made = cli("draft", "create", "m:v0", "--json").json
    assert (made["state"], made["type"], made["base"].endswith("/m/versions/v0")) == ("OPEN", "model", True)
    draft = made["id"]
    (cli.folder / "w").write_bytes(b"22")
    refused = cli("draft", "add", draft, "w", "--json")
    assert (refused.code, refused.error["reason"]) == (1, "PATH_CONFLICT")
    assert cli("draft", "add", draft, "w", "--overwrite", "--json").json["sent_bytes"] == 0  # they came before the refusal
    assert cli("draft", "add", draft, "w", "--under", "copies/", "--json").json["sent_bytes"] == 0
    assert cli("draft", "rm", draft, "conf/", "--json").json["removed"] == 2
    assert cli("draft", "rm", draft, "conf", "--json").code == 3
    assert [d["id"] for d in cli("draft", "ls", "--state", "open", "--json").json] == [draft]
    version = cli("draft", "commit", draft, "--alias", "next", "--json").json
    assert (version["name"], version["entry_count"], version["aliases"]) == ("m:v1", 2, ["latest", "next"])
    assert cli("draft", "show", draft, "--json").json["version"] == "v1"
    assert "committed as v1" in cli("draft", "ls").out
    late = cli("draft", "add", draft, "w", "--overwrite", "--json")
    assert (late.error["reason"], late.error["metadata"]["state"]) == ("DRAFT_NOT_OPEN", "committed")
    given_up = cli("draft", "create", "m", "--distributed-id", "x", "--json").json
    assert cli("draft", "abort", given_up["id"], "--json").json["state"] == "ABORTED"
    again = cli("draft", "create", "m", "--distributed-id", "x", "--json")
    assert (again.code, again.error["reason"]) == (1, "DRAFT_NOT_OPEN")
    assert cli("draft", "ls", "--state", "strange").code == 2


def test_copies_moves_and_folders(cli: Cli, project: str):
    put(cli, {"w": b"1", "conf/a": b"a"})
    copied = cli("copy", "m:v0", f"{project}-prod/shown", "--alias", "production", "--json").json
    assert (copied["name"], copied["deduplicated"], copied["origin"].endswith("/m/versions/v0")) == ("shown:v0", False, True)
    assert "copied from" in cli("show", f"{project}-prod/shown").out
    assert cli("mv", f"{project}-prod/shown", f"{project}-prod/seen", "--json").json["name"] == "seen"
    assert (
        cli("mv", f"{project}-prod/seen", f"{project}-other/seen", "--json")
        .json["resource_name"]
        .endswith(f"/projects/{project}-other/collections/seen")
    )
    changes = cli("names", f"{project}-other/seen", "--json").json
    assert [change["to_collection"].rpartition("/")[2] for change in changes] == ["seen", "seen"]
    assert changes[1]["from_collection"].endswith(f"/{project}-prod/collections/shown")
    found = cli("files", "m", "--json").json
    assert [item["path"] for item in found] == ["conf/", "w"]
    assert [item["path"] for item in cli("files", "m:v0", "conf", "--json").json] == ["conf/a"]
    assert cli("files", "m", "nothing").code == 3
