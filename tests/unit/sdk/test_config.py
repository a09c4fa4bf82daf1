"""Where a client finds its server: arguments, environment, login, the embedded server, or one line that says what to do."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from modelkeep import config
from modelkeep._left_behind import LEFT_BEHIND_SECONDS
from modelkeep.errors import InvalidArgument, InvalidName, NotConfigured


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in config._ENVIRONMENT.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MODELKEEP_CONFIG_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def listener() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"grpc://127.0.0.1:{server.getsockname()[1]}"


def write_server_file(home: Path, url: str, key: str = "mk_embedded") -> None:
    (home / "server.json").write_text(json.dumps({"url": url, "api_key": key, "pid": 1, "data": "/data"}))


def test_arguments_come_before_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    config.save_login("grpc://login:1", "mk_login", team="login", project="login")
    monkeypatch.setenv("MODELKEEP_URL", "grpc://environment:1")
    monkeypatch.setenv("MODELKEEP_API_KEY", "mk_environment")
    found = config.load("grpc://argument:1", "mk_argument", team="t", project="p")
    assert (found.url, found.api_key, found.team, found.project) == ("grpc://argument:1", "mk_argument", "t", "p")


def test_environment_comes_before_login(monkeypatch: pytest.MonkeyPatch) -> None:
    config.save_login("grpc://login:1", "mk_login", project="login")
    monkeypatch.setenv("MODELKEEP_URL", "grpc://environment:1")
    monkeypatch.setenv("MODELKEEP_API_KEY", "mk_environment")
    found = config.load()
    assert (found.url, found.api_key, found.project) == ("grpc://environment:1", "mk_environment", "default")


def test_login_comes_before_the_embedded_server(home: Path, listener: str) -> None:
    write_server_file(home, listener)
    config.save_login("grpc://login:1", "mk_login", team="vision", project="cats")
    found = config.load()
    assert (found.url, found.api_key, found.team, found.project) == ("grpc://login:1", "mk_login", "vision", "cats")


def test_the_embedded_server_is_found(home: Path, listener: str) -> None:
    write_server_file(home, listener)
    found = config.load()
    assert (found.url, found.api_key, found.project) == (listener, "mk_embedded", "default")


def test_a_file_whose_server_does_not_answer_means_that_none_runs(home: Path) -> None:
    with socket.socket() as taken:  # a port that nobody listens on, and that nobody else can take meanwhile
        taken.bind(("127.0.0.1", 0))
        write_server_file(home, f"grpc://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(NotConfigured):
            config.load()


def test_nothing_configured_says_in_one_line_how_to_start_one() -> None:
    with pytest.raises(NotConfigured) as caught:
        config.load()
    assert "modelkeep up" in caught.value.message
    assert "MODELKEEP_URL" in caught.value.message
    assert "\n" not in caught.value.message


def test_a_server_without_a_key_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKEEP_URL", "grpc://somewhere:1")
    with pytest.raises(NotConfigured, match="no API key for grpc://somewhere:1"):
        config.load()


@pytest.mark.peer("M-SEC-1")
def test_a_key_from_a_file_goes_to_no_other_server(home: Path, listener: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_server_file(home, listener)
    config.save_login("grpc://login:1", "mk_login")
    monkeypatch.setenv("MODELKEEP_URL", "grpc://evil:1")
    with pytest.raises(NotConfigured):
        config.load()


def test_the_url_may_pick_among_the_files(home: Path, listener: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_server_file(home, listener)
    config.save_login("grpc://login:1", "mk_login")
    monkeypatch.setenv("MODELKEEP_URL", listener)
    assert config.load().api_key == "mk_embedded"


def test_the_login_file_is_for_its_owner_only(home: Path) -> None:
    path = config.save_login("grpc://host:1", "mk_secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(home.iterdir()) == [path]


def test_a_key_that_a_killed_login_left_goes_an_hour_later(home: Path) -> None:
    script = (
        "import os, signal; from modelkeep import config\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "config.save_login('grpc://host:1', 'mk_secret')\n"
    )
    environment = os.environ | {"MODELKEEP_CONFIG_HOME": str(home)}
    assert subprocess.run([sys.executable, "-c", script], check=False, env=environment).returncode == -9
    [left] = home.iterdir()
    others = [home / name for name in (".config-backup-of-mine", ".config-ABCDEFGH", "a.config-abcdefgh")]
    for other in others:
        other.touch()
    path = config.save_login("grpc://host:1", "mk_secret")
    assert left.exists()  # its login might be at it still
    for each in home.iterdir():
        os.utime(each, (0, time.time() - 2 * LEFT_BEHIND_SECONDS))
    config.save_login("grpc://host:1", "mk_secret")
    assert sorted(home.iterdir()) == sorted([path, *others])


def test_a_login_file_that_is_broken_says_what_to_do(home: Path) -> None:
    (home / "config.toml").write_text("url = ")
    with pytest.raises(InvalidArgument, match="modelkeep login"):
        config.load()
    (home / "config.toml").write_text('urll = "x"')
    with pytest.raises(InvalidArgument, match="'urll'"):
        config.load()


def test_a_server_file_that_is_broken_is_no_server(home: Path) -> None:
    for text in ("", "{", "[]", '{"url": 3}'):
        (home / "server.json").write_text(text)
        with pytest.raises(NotConfigured):
            config.load()


def test_the_key_is_not_shown() -> None:
    assert "mk_secret" not in repr(config.load("grpc://host:1", "mk_secret"))


@pytest.mark.parametrize(
    ("url", "target", "tls", "loopback"),
    [
        ("grpc://host:1", "dns:///host:1", False, False),
        ("grpc://127.0.0.1:7460", "dns:///127.0.0.1:7460", False, True),
        ("grpc://localhost", "dns:///localhost:7460", False, True),
        ("grpcs://keep.example.org", "dns:///keep.example.org:443", True, False),
        ("grpcs://[::1]:5", "dns:///[::1]:5", True, True),
        ("unix:/run/modelkeep.sock", "unix:/run/modelkeep.sock", False, True),
    ],
)
def test_urls(url: str, target: str, tls: bool, loopback: bool) -> None:
    assert config.Endpoint.parse(url) == config.Endpoint(target, tls, loopback)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:1",
        "http://host:1",
        "grpc://",
        "grpc://host:port",
        "grpc://host:99999",
        "unix:",
        "grpc://a@b:1",
        "grpc://h:1/x",
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match="expected grpc://host:port"):
        config.Endpoint.parse(url)


def test_names_are_checked_before_any_call() -> None:
    with pytest.raises(InvalidName):
        config.load("grpc://host:1", "mk_x", project="a/b")
    with pytest.raises(InvalidName):
        config.load("grpc://host:1", "mk_x", team="..")
