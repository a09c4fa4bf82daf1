"""Runs and lineage from a shell: `run …`, `lineage …`; whatever goes wrong is one clear message."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from uuid import uuid4

import pytest

from tests.e2e.conftest import Cli
from tests.suites import Suite

STORY = """
import modelkeep
from pathlib import Path

def log(run, name, type_, *aliases):
    Path(name).write_bytes(run.id.encode())
    return run.log_artifact(name, name, type_, aliases=aliases)

with modelkeep.init(name="prepare", job_type="prepare") as run:
    log(run, "data", "dataset")
for number, lr in enumerate((0.1, 0.01)):
    with modelkeep.init(name=f"train-{number}", job_type="train", config={"lr": lr, "net": {"depth": 3}}) as run:
        run.use_artifact("data:latest")
        for step in range(3):
            run.log({"loss": 1 / (step + 1), "acc": (step + number) / 10}, step=step)
        log(run, "net", "model", "best")
with modelkeep.init(name="eval", job_type="evaluate") as run:
    run.use_artifact("net:best")
    log(run, "report", "metrics")
"""


@pytest.fixture(scope="module")
def told(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """`data:v0` was trained on twice; `net:v1` is the best, and was evaluated. Nobody changes it."""
    cli = Cli(suite.client(f"t-{uuid4().hex[:12]}"), tmp_path_factory.mktemp("told"))
    command = [sys.executable, "-c", STORY]
    done = subprocess.run(command, env=cli.env, cwd=cli.folder, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    return cli


def tree(text: str) -> list[str]:
    return [re.sub(r"  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "", line) for line in text.splitlines()]


def first_column(table: str, column: int = 0) -> list[str]:
    return [line.split()[column] for line in table.splitlines()[1:]]


def test_a_tree_in_the_terminal(told: Cli):
    done = told("lineage", "net:best")
    assert (done.code, done.err) == (0, "")
    assert "\x1b" not in done.out
    assert tree(done.out) == [
        "net:v1  (model)  as net:best",
        "├─ made by train-1  (train)",
        "│  └─ used data:v0  (dataset)  as data:latest",
        "│     └─ made by prepare  (prepare)",
        "└─ used by eval  (evaluate)  as net:best",
        "   └─ made report:v0  (metrics)",
    ]
    assert len(tree(told("lineage", "net:best", "--up", "--depth", "1").out)) == 2
    assert tree(told("lineage", "train-0", "--down").out) == ["train-0  (train)", "└─ made net:v0  (model)"]
    assert tree(told("lineage", "net:best", "--up", "--type", "dataset").out)[1:] == ["└─ 2 steps up: data:v0  (dataset)"]
    mistyped = told("lineage", "net:best", "--type", "datset", "--in", "nowhere")
    assert (tree(mistyped.out), mistyped.err) == (
        ["net:v1  (model)  as net:best"],
        "nothing else of net:best is what --in and --type asked for\n",
    )
    coloured = told("lineage", "net:best", FORCE_COLOR="1", TERM="xterm-256color").out
    assert "\x1b[" in coloured
    assert tree(re.sub(r"\x1b\[[0-9;]*m", "", coloured)) == tree(done.out)


def test_json_and_graphviz(told: Cli):
    data = told("lineage", "net:best", "--json").json
    assert {node["name"] for node in data["nodes"]} == {"net:v1", "train-1", "data:v0", "prepare", "eval", "report:v0"}
    assert (len(data["edges"]), data["truncation"], data["lagging"], data["direction"]) == (5, None, False, "both")
    assert data["nodes"][0]["id"] == data["root"]
    dot = told("lineage", "net:best", "--dot").out
    assert dot.startswith("digraph lineage {\n")
    assert dot.count(" -> ") == 5
    cut = told("lineage", "net:best", "--json", "--limit", "2")
    assert len(cut.json["nodes"]) == 2
    assert cut.json["truncation"]["reason"]
    assert cut.err.startswith("this is not all: ")
    assert "there is more" in told("lineage", "net:best", "--limit", "2").out


def test_each_question(told: Cli):
    project = told.env["MODELKEEP_PROJECT"]
    used_by = told("lineage", "net:best", "--down", "--list")
    assert used_by.out.splitlines()[1].startswith("used by  eval  ")
    beside = told("lineage", "train-1", "--list", "--json").json
    assert [(one["direction"], one["node"]["name"], one["edge"]["alias_text"]) for one in beside] == [
        ("up", "data:v0", "data:latest"),
        ("down", "net:v1", ""),
    ]
    sources = told("lineage", "report:v0", "--sources", "--type", "dataset", "--json").json
    assert [(node["name"], node["depth"]) for node in sources] == [("data:v0", 4)]
    assert first_column(told("lineage", "net:v0", "--common", "report:v0").out, 1) == ["data:v0", "prepare"]
    assert first_column(told("lineage", "net:v0", "--common", "net:v1", "--type", "dataset").out, 1) == ["data:v0"]
    nothing = told("lineage", "net:v0", "--common", "report:v0", "--type", "model")
    assert (nothing.code, nothing.out) == (0, "")
    assert nothing.err == "net:v0 and report:v0 come from nothing in common of type model\n"
    assert [line.split("  (")[0] for line in tree(told("lineage", "data:v0", "--to", "report:v0").out)] == [
        "data:v0",
        "└─ used by train-1",
        "   └─ made net:v1",
        "      └─ used by eval",
        "         └─ made report:v0",
    ]
    assert "no way leads from report:v0 to data:v0" in told("lineage", "report:v0", "--to", "data:v0").err
    for question in (["net:best", "--list"], ["net:best", "--sources"], ["net:v0", "--common", "report:v0"]):
        cut = told("lineage", *question, "--limit", "1")
        assert len(cut.out.splitlines()) == 2, "a heading, and one line"
        more = len(told("lineage", *question, "--limit", "0").out.splitlines()) > 2
        assert ("there is more than 1; --limit 0 shows all" in cut.err) == more
    assert len(told("lineage", "net:best", "--list", "--limit", "1", "--json").json) == 1
    impact = told("lineage", "data:v0", "--impact").out.splitlines()
    assert impact[0] == "data:v0: 3 versions and 3 runs come from it"
    assert "  2 versions of net  (model)" in impact
    assert f"{project}/net:best" in impact[-1]
    assert told("lineage", "data:v0", "--impact", "--json").json["version_count"] == 3


def test_runs_are_listed_and_shown(told: Cli):
    assert first_column(told("run", "ls").out) == ["eval", "train-1", "train-0", "prepare"]
    assert first_column(told("run", "ls", "--filter", "config.lr < 0.05").out) == ["train-1"]
    assert first_column(told("run", "ls", "--order=-summary.acc", "--limit", "2").out) == ["train-1", "train-0"]
    none = told("run", "ls", "--filter", "config.lr > 1")
    assert (none.code, none.out, none.err) == (0, "", "no run fits the filter\n")
    shown = told("run", "show", "train-1")
    for words in ("(finished)", "data:v0  (dataset)  as data:latest", "net:v1  (model)", '"lr": 0.01', '"acc": 0.3'):
        assert words in shown.out
    data = told("run", "show", "train-1", "--json").json
    assert (data["config"], data["state"], data["job_type"]) == ({"lr": 0.01, "net": {"depth": 3}}, "FINISHED", "train")
    beside = {way: [(one["node"]["name"], one["edge"]["alias_text"]) for one in data[way]] for way in ("used", "produced")}
    assert beside == {"used": [("data:v0", "data:latest")], "produced": [("net:v1", "")]}
    assert told("run", "show", data["id"], "--json").json == data
    best = told("run", "best", "acc")
    assert best.out.splitlines()[0].split() == ["acc", "0.3"]
    assert "net:v1  (model)" in best.out
    assert told("run", "best", "loss", "--goal", "min", "--filter", "name = train-0", "--json").json["name"] == "train-0"


def test_runs_beside_each_other_and_what_they_measured(told: Cli):
    compared = told("run", "compare", "train-0", "train-1")
    rows = {line.split()[0]: line.split()[1:] for line in compared.out.splitlines()[1:]}
    assert (rows["config.lr"], rows["summary.acc"]) == (["0.1", "0.01"], ["0.2", "0.3"])
    assert "config.net.depth" not in rows
    assert "more are equal; --all shows them" in compared.err
    everything = told("run", "compare", "train-0", "train-1", "--json").json
    assert {"key": "used.data", "values": ["v0", "v0"], "equal": True} in everything["rows"]
    same = told("run", "compare", "train-0", "train-0", "--all").out.splitlines()
    assert same[0].split("  ")[-2:] == [same[0].split("  ")[-1]] * 2, "the same one twice has two columns"
    assert first_column(told("run", "metrics", "train-1").out) == ["acc", "loss"]
    assert told("run", "metrics", "train-1", "loss").out.split() == ["STEP", "VALUE", "0", "1.0", "1", "0.5", "2", repr(1 / 3)]
    assert [point["value"] for point in told("run", "metrics", "train-1", "acc", "--json").json] == [0.1, 0.2, 0.3]


def test_a_run_is_edited_tagged_and_deleted(told: Cli):
    script = "import modelkeep; modelkeep.init(name='mistake').finish()"
    subprocess.run([sys.executable, "-c", script], env=told.env, cwd=told.folder, check=True, timeout=100)
    config = json.dumps({"lr": 5} | {f"layer {number}": number for number in range(200)})  # metadata would have too many keys
    edited = told("run", "edit", "mistake", "--name", "better", "--notes", "# Why", "--config", config, "--json").json
    assert (edited["name"], edited["notes"], edited["config"]) == ("better", "# Why", json.loads(config))
    assert told("run", "tag", "better", "golden", "old").out == "better has the tags: golden, old\n"
    assert told("run", "tag", "better", "new", "--remove", "old", "--json").json["tags"] == ["golden", "new"]
    asked = told("run", "rm", "better")
    assert (asked.code, "say --yes" in asked.err) == (2, True)
    assert told("run", "rm", "better", "--yes", "--reason", "a mistake").out == "better deleted\n"
    gone = told("run", "show", edited["id"], "--json")
    assert (gone.code, gone.error["reason"]) == (1, "RUN_DELETED")


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["run", "show", "nosuch"], 3, "RUN_NOT_FOUND"),
        (["run", "show", "a/b/c/d"], 2, "INVALID_NAME"),
        (["run", "metrics", "train-1", "nosuch"], 3, "METRIC_NOT_FOUND"),
        (["run", "best", "nosuch"], 3, "RUN_NOT_FOUND"),
        (["run", "best", "acc", "--goal", "best"], 2, "INVALID_ARGUMENT"),
        (["run", "compare", "train-1"], 2, "INVALID_ARGUMENT"),
        (["run", "ls", "--filter", "confg.lr < 1"], 2, "INVALID_FILTER"),
        (["run", "ls", "--order", "nosuch"], 2, "INVALID_FILTER"),
        (["run", "edit", "train-1"], 2, "INVALID_ARGUMENT"),
        (["run", "edit", "train-1", "--config", "[]"], 2, "INVALID_METADATA"),
        (["run", "tag", "train-1"], 2, "INVALID_ARGUMENT"),
        (["run", "tag", "train-1", "a/b"], 2, "INVALID_TAG"),
        (["run", "rm", "train-1", "--delete-aliases", "--yes"], 2, "INVALID_ARGUMENT"),
        (["run", "rm", "train-1", "--delete-versions", "--yes"], 1, "VERSION_ALIASED"),
        (["lineage", "nosuch"], 3, "RUN_NOT_FOUND"),
        (["lineage", "nosuch:best"], 3, "COLLECTION_NOT_FOUND"),
        (["lineage", "net:bset"], 3, "ALIAS_NOT_FOUND"),
        (["lineage", "net:v9"], 3, "VERSION_NOT_FOUND"),
        (["lineage", "net", "--as-of", "yesterday"], 2, "INVALID_ADDRESS"),
        (["lineage", "net", "--kind", "thing"], 2, "INVALID_ARGUMENT"),
        (["lineage", "net", "--in", "a b"], 2, "INVALID_NAME"),
        (["lineage", "net", "--sources", "--impact"], 2, "INVALID_ARGUMENT"),
        (["lineage", "net", "--impact", "--depth", "3"], 2, "INVALID_ARGUMENT"),
        (["lineage", "net", "--impact", "--limit", "3"], 2, "INVALID_ARGUMENT"),
        (["lineage", "net", "--sources", "--up"], 2, "INVALID_ARGUMENT"),
        (["lineage", "net", "--dot"], 2, "INVALID_ARGUMENT"),
        (["lineage", "net", "--common", "nosuch"], 3, "RUN_NOT_FOUND"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else None,
)
def test_each_fault_has_its_reason_and_exit_code(told: Cli, arguments: list[str], code: int, reason: str):
    done = told(*arguments, "--json")
    assert (done.code, done.error["reason"], done.out) == (code, reason, "")


@pytest.mark.parametrize("many", ["-1", "2147483648", str(10**30)])
def test_a_count_has_bounds(told: Cli, many: str):
    for command, option in ((["lineage", "net"], "--limit"), (["lineage", "net"], "--depth"), (["run", "ls"], "--limit")):
        done = told(*command, option, many)
        assert (done.code, done.out) == (2, "")
        assert f"'{option}'" in done.err
        assert "2147483647" in done.err or "0" in done.err


def test_messages_help(told: Cli):
    wrong = told("lineage", "dat")
    assert "'data'" in wrong.err
    assert "neither a collection nor a run" in wrong.err
    assert "did you mean 'train-1'" in told("run", "show", "trian-1").err
    near = told("run", "metrics", "train-1", "los")
    assert (near.code, "loss" in near.err) == (3, True)
    first, shown, caret = told("run", "ls", "--filter", "state = finished AND confg.lr < 1").err.split("\n")[:3]
    assert first.startswith("error: in the filter, at character 22: there is no field 'confg'")
    assert shown[caret.index("^") :].startswith("confg.lr")
    json.loads(told("lineage", "net", "--impact", "--json").out)
