"""Whatever goes wrong is one clear message and an exit code that scripts can trust; nothing half-made is left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.conftest import PROGRAM, Cli
from tests.servers import free_port
from tests.suites import Suite

pytestmark = pytest.mark.one_topology


@pytest.fixture(scope="module")
def prepared(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A project that has `m:v0`, which is `m:best`; the tests that share it change nothing."""
    cli = Cli(suite.client(f"t-{uuid4().hex[:12]}"), tmp_path_factory.mktemp("prepared"))
    cli.put("m", "--alias", "best")
    return cli


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["show", "nosuch"], 3, "COLLECTION_NOT_FOUND"),
        (["show", "m:v9"], 3, "VERSION_NOT_FOUND"),
        (["show", "m:bset"], 3, "ALIAS_NOT_FOUND"),
        (["show", "m@sha256:0123456789"], 3, "VERSION_NOT_FOUND"),
        (["show", "m:"], 2, "INVALID_ADDRESS"),
        (["show", "m:v1@2026-01-01"], 2, "INVALID_ADDRESS"),
        (["show", "a b"], 2, "INVALID_NAME"),
        (["show", "../m"], 2, "INVALID_NAME"),
        (["show", "x" * 10_000], 2, "INVALID_NAME"),
        (["alias", "set", "m", "v1"], 2, "INVALID_ALIAS"),
        (["alias", "set", "m", "latest"], 2, "INVALID_ALIAS"),
        (["alias", "set", "m", "a/b"], 2, "INVALID_ALIAS"),
        (["alias", "rm", "m", "nosuch"], 3, "ALIAS_NOT_FOUND"),
        (["tag", "add", "m", "a/b"], 2, "INVALID_TAG"),
        (["edit", "m", "--metadata", "{"], 2, "INVALID_METADATA"),
        (["edit", "m", "--metadata", "[]"], 2, "INVALID_METADATA"),
        (["edit", "m", "--metadata", '{"a": Infinity}'], 2, "INVALID_METADATA"),
        (["edit", "m"], 2, "INVALID_ARGUMENT"),
        (["ls", "--files"], 2, "INVALID_ARGUMENT"),
        (["get", "m", "out", "--checkout", "--path", "a"], 2, "INVALID_ARGUMENT"),
        (["project", "create", "a/b"], 2, "INVALID_NAME"),
        (["key", "revoke", "nosuch"], 3, "API_KEY_NOT_FOUND"),
        (["restore", "m:v9"], 3, "VERSION_NOT_FOUND"),
        (["sync", "nosuch"], 2, "INVALID_ARGUMENT"),
        (["ls", "m", "--filter", 'name = "\udcff"'], 2, "INVALID_ARGUMENT"),
        (["ls", "m", "--order", "\udcff"], 2, "INVALID_ARGUMENT"),
        (["history", "m", "\udcff"], 2, "INVALID_ARGUMENT"),
        (["edit", "m", "--notes", "\udcff"], 2, "INVALID_ARGUMENT"),
        (["draft", "create", "m:v0", "--distributed-id", "\udcff"], 2, "INVALID_ARGUMENT"),
    ],
    ids=lambda value: ascii(" ".join(value))[1:40] if isinstance(value, list) else None,
)
def test_each_fault_has_its_reason_and_exit_code(prepared: Cli, arguments: list[str], code: int, reason: str):
    done = prepared(*arguments, "--json")
    assert (done.code, done.error["reason"], done.out) == (code, reason, "")


def test_what_exists_is_said_and_the_nearest_suggested(cli: Cli):
    cli.put("digits", "--alias", "production")
    wrong = cli("show", "digits:prodution")
    assert (wrong.code, wrong.err.startswith("error: "), wrong.err.count("\n")) == (3, True, 1)
    assert "production" in wrong.err
    assert "v0" in cli("show", "digits:v7").err
    assert "digits" in cli("show", "digit").err


@pytest.mark.parametrize(
    "arguments", [["nosuch"], ["show"], ["show", "m", "--nosuch"], ["put", "f"], ["key", "create", "--role", "god"]]
)
def test_a_command_used_wrongly_is_2(prepared: Cli, arguments: list[str]):
    done = prepared(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_the_same_name_with_another_type(cli: Cli):
    """SEM-2."""
    cli.put("m", type="model")
    (cli.folder / "f").write_text("x")
    done = cli("put", "f", "--name", "m", "--type", "dataset", "--json")
    assert (done.code, done.error["reason"]) == (1, "COLLECTION_TYPE_MISMATCH")
    assert "model" in done.error["message"]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


def _link_out(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _loop_of_folders(path: Path) -> None:
    path.mkdir()
    (path / "again").symlink_to("..", target_is_directory=True)


def _backslash(path: Path) -> None:
    path.with_name("a\\b").write_text("x")


def _not_utf8(path: Path) -> None:
    Path(os.fsdecode(os.fsencode(path.parent) + b"/\xff")).write_text("x")


@pytest.mark.parametrize("make", [_fifo, _broken_link, _link_out, _loop, _loop_of_folders, _backslash, _not_utf8])
def test_what_is_no_file_is_refused_and_nothing_is_logged(cli: Cli, make: Callable[[Path], None]):
    """SEM-7."""
    (cli.folder / "src").mkdir()
    (cli.folder / "src/good").write_text("x")
    make(cli.folder / "src" / "bad")
    done = cli("put", "src", "--name", "m", "--type", "model", "--json")
    assert done.code in {1, 2}
    assert done.error["reason"] in {"FILE_UNREADABLE", "INVALID_PATH"}
    assert cli("ls", "m", "--json").code == 3 or cli("ls", "m", "--json").json == []


def test_a_path_that_is_not_there(cli: Cli):
    done = cli("put", "nosuch", "--name", "m", "--type", "model", "--json")
    assert (done.code, done.error["reason"]) == (1, "FILE_UNREADABLE")
    assert "nosuch" in done.error["message"]


def test_empty_folders_are_left_out_with_a_note(cli: Cli):
    """SEM-7."""
    (cli.folder / "src/void").mkdir(parents=True)
    (cli.folder / "src/f").touch()
    done = cli("put", "src", "--name", "m", "--type", "model", "--json")
    assert [f["path"] for f in cli("ls", "--files", "m", "--json").json] == ["f"]
    assert "void" in done.err


def test_a_link_within_the_folder_is_followed(cli: Cli):
    """SEM-7."""
    (cli.folder / "src").mkdir()
    (cli.folder / "src/f").write_text("x")
    (cli.folder / "src/g").symlink_to("f")
    assert cli("put", "src", "--name", "m", "--type", "model").code == 0
    cli("get", "m", "out")
    assert (cli.folder / "out/g").read_text() == "x"
    assert not (cli.folder / "out/g").is_symlink()


def test_no_server_answers(cli: Cli):
    """M-UP-4: an error within its time, not a hang."""
    done = cli("show", "m", "--json", MODELKEEP_URL=f"grpc://127.0.0.1:{free_port()}")
    assert (done.code, done.error["reason"]) == (5, "SERVICE_UNAVAILABLE")


def test_nothing_is_configured(cli: Cli, tmp_path: Path):
    lost = {name: value for name, value in cli.env.items() if not name.startswith("MODELKEEP_")}
    done = Cli(lost | {"MODELKEEP_CONFIG_HOME": str(tmp_path / "none")}, tmp_path)("ls", "--json")
    assert (done.code, done.error["reason"]) == (5, "NOT_CONFIGURED")
    assert "modelkeep up" in done.error["message"]


@pytest.mark.parametrize("api_key", ["", "nonsense", "mk_abcdefgh_" + "x" * 49])
def test_a_wrong_key(prepared: Cli, api_key: str):
    done = prepared("ls", "--json", MODELKEEP_API_KEY=api_key)
    assert (done.code, done.error["code"]) in {(4, "UNAUTHENTICATED"), (5, "FAILED_PRECONDITION")}


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:1", "grpc://", "grpc://127.0.0.1:notaport"])
def test_a_wrong_url(prepared: Cli, url: str):
    assert prepared("ls", MODELKEEP_URL=url).code in {2, 5}


def test_a_reader_that_stops_reading_is_no_error_of_ours(cli: Cli):
    cli.put("m")
    command = f"{PROGRAM} ls --json | true"
    done = subprocess.run(["bash", "-c", command], env=cli.env, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_help_is_quick_because_it_needs_no_client():
    """P15: what help imports is counted, not timed."""
    script = (
        "import sys; from modelkeep.cli import main; sys.argv = ['modelkeep', '--help']\ntry: main()\nexcept SystemExit: pass\n"
    )
    script += "print(sorted({'grpc', 'google.protobuf', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "put" in done.stdout


def test_version():
    done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("modelkeep 0.")
