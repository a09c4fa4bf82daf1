"""What a newcomer does: `modelkeep up`, `login`, the README's first script, the demo. Each on a server of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import PROGRAM, Cli
from tests.servers import START_SECONDS, wait_until
from tests.suites import Suite

ROOT = Path(__file__).parents[2]


def clean_env(config: Path) -> dict[str, str]:
    """The environment of a user who configured nothing."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MODELKEEP_")}
    return env | {"MODELKEEP_CONFIG_HOME": str(config), "MODELKEEP_CACHE_DIR": str(config.parent / "cache")}


@pytest.fixture
def up(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Cli]]:
    """`modelkeep up` in an empty folder, and a client in another one."""
    env = clean_env(tmp_path / "config")
    (home := tmp_path / "home").mkdir()
    (elsewhere := tmp_path / "elsewhere").mkdir()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "up", "--port", "0"], cwd=home, env=env, stdout=log, stderr=log)

    def ready() -> bool:
        assert process.poll() is None, (tmp_path / "log").read_text()
        return (tmp_path / "config/server.json").exists()

    try:
        wait_until(ready, "the start of `modelkeep up`")
        yield process, Cli(env, elsewhere)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_up_is_found_from_anywhere_and_leaves_nothing_behind(up: tuple[subprocess.Popen[bytes], Cli]):
    process, cli = up
    config = Path(cli.env["MODELKEEP_CONFIG_HOME"])
    found = config / "server.json"
    assert found.stat().st_mode & 0o777 == 0o600
    assert Path(json.loads(found.read_text())["data"]) == (config.parent / "home/.modelkeep")
    assert cli("ls", "--json").json == []
    cli.put("m", f="x")
    assert [collection["name"] for collection in cli("ls", "--json").json] == ["m"]
    process.send_signal(signal.SIGINT)
    assert process.wait(START_SECONDS) in {0, 130}
    assert not found.exists()
    done = cli("ls", "--json")
    assert (done.code, done.error["reason"]) == (5, "NOT_CONFIGURED")


def test_a_second_up_on_the_same_folder_says_who_has_it(up: tuple[subprocess.Popen[bytes], Cli]):
    process, cli = up
    data = Path(cli.env["MODELKEEP_CONFIG_HOME"]).parent / "home/.modelkeep"
    second = cli("up", "--data", data, "--port", "0")
    assert second.code not in {0, None}
    assert str(process.pid) in second.err


def test_the_first_script_of_the_readme(up: tuple[subprocess.Popen[bytes], Cli]):
    """Pasted into an empty folder, and run twice."""
    _, cli = up
    script = re.search(r"## A first script.*?```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert script is not None
    (cli.folder / "first.py").write_text(script[1])
    for _ in range(2):
        command = [sys.executable, "-W", "error", "first.py"]
        done = subprocess.run(command, cwd=cli.folder, env=cli.env, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "logged first:v0 sha256:" in done.stdout
        assert "fetched first:v0 {'acc': 0.91} b'the weights'" in done.stdout


def test_login_is_remembered_by_this_user_alone(suite: Suite, project: str, tmp_path: Path):
    env = clean_env(tmp_path / "config") | {"MODELKEEP_PROJECT": project}
    env |= {"MODELKEEP_BLOB_URL": suite.blob_url} if suite.blob_url else {}
    cli = Cli(env, tmp_path)
    refused = cli("login", "--url", suite.url, "--key", "-", "--json", stdin="mk_abcdefgh_" + "x" * 49)
    assert (refused.code, refused.error["reason"]) == (4, "API_KEY_INVALID")
    assert not (tmp_path / "config/config.toml").exists()
    done = cli("login", "--url", suite.url, "--key", "-", stdin=suite.api_key + "\n")
    assert done.code == 0, done.err
    assert suite.api_key not in done.out + done.err
    assert (tmp_path / "config/config.toml").stat().st_mode & 0o777 == 0o600
    cli.put("m")
    assert cli("show", "m", "--json").json["name"] == "m:v0"


@pytest.mark.timeout(900)
def test_the_demo(tmp_path: Path):
    """`make demo`, with fewer epochs, in a folder of its own."""
    command = [sys.executable, str(ROOT / "clients/python/examples/demo.py"), "--epochs", "2"]
    env = clean_env(tmp_path / "config")
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "digits:v0",
        "fetched and verified",
        "measured here",
        "was there already",
        " 0 of them sent",
        "is new",
        "with noise 0.3",
        "the server is stopped",
    ):
        assert words in done.stdout, done.stdout
    tree = re.search(r"\ndigits:v[01]  \(model\)  as digits:best(.*?)\n\n", done.stdout, re.DOTALL)
    assert tree, done.stdout
    told = re.findall(r"(made by|used by|used|made) (?:(\w+)-\w+-\w+-\d+|([\w-]+:v\d)) ", tree[1])
    assert sorted(f"{verb} {run or version}" for verb, run, version in told) == [
        *("made by prepare", "made by train", "made digits-predictions:v0", "made digits-predictions:v1"),
        *("made digits-report:v0", "made digits-report:v1", "used by evaluate", "used by evaluate", "used by predict"),
        "used digits-data:v0",
    ], done.stdout
    assert not (tmp_path / ".demo/config/server.json").exists()
