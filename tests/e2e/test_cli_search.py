"""Search from a shell: `ls --filter … --order …`."""

from __future__ import annotations

from tests.e2e.conftest import Cli


def test_a_search(cli: Cli):
    for number, acc in enumerate((0.5, 0.95, 0.97)):
        more = ["--alias", "best"] if number == 2 else []
        cli.put("net", "--metadata", f'{{"acc": {acc}}}', *more, f=str(number))
    cli.put("data", "--metadata", '{"rows": 3}', type="dataset")

    good = cli("ls", "net", "--filter", "metadata.acc > 0.9 AND NOT alias:best", "--json").json
    assert [version["name"] for version in good] == ["net:v1"]
    table = cli("ls", "-", "--filter", "metadata:*", "--order", "metadata.rows, -metadata.acc")
    assert [line.split()[0] for line in table.out.splitlines()] == ["NAME", "data:v0", "net:v2", "net:v1", "net:v0"]
    project = cli.env["MODELKEEP_PROJECT"]
    everywhere = cli("ls", "-", "--project", "-", "--filter", f"project = {project}", "--order=-metadata.acc").out
    assert everywhere.splitlines()[1].startswith(f"{project}/net:v2")
    everywhere = cli("--project", "-", "ls", "--filter", f"project = {project}").out
    assert [line.split()[0] for line in everywhere.splitlines()] == ["NAME", f"{project}/data", f"{project}/net"]
    assert [c["name"] for c in cli("ls", "--filter", "version_count > 1", "--json").json] == ["net"]
    assert [c["name"] for c in cli("ls", "--order=-name", "--json").json] == ["net", "data"]
    none = cli("ls", "net", "--filter", "metadata.acc > 1")
    assert (none.code, none.out, none.err) == (0, "", "no version fits the filter\n")
    assert cli("ls", "--filter", "alias:none").err == "no collection fits the filter\n"


def test_an_error_points_at_the_character(cli: Cli):
    cli.put("net")
    done = cli("ls", "net", "--filter", "metadata.acc > 0.9 AND sise > 3")
    assert (done.code, done.out) == (2, "")
    first, shown, caret, request = done.err.rstrip("\n").split("\n")
    assert first == "error: in the filter, at character 24: there is no field 'sise'; did you mean size?"
    assert shown[caret.index("^") :].startswith("sise > 3")
    assert (caret.strip(), request.startswith("(request ")) == ("^", True)
    done = cli("ls", "net", "--order", "metadata", "--json")
    assert (done.code, done.error["reason"], done.error["metadata"]["field"]) == (2, "INVALID_FILTER", "order_by")
    assert cli("ls", "--files", "net", "--filter", "used").code == 2
