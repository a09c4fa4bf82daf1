"""Where a setting's value comes from, and what is refused (HOUSE §9)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from modelkeep_server.main import app
from modelkeep_server.settings import BadSettings, fields, load, secrets_in
from typer.testing import CliRunner

CANARY = "c4n4ry-Sw0rdfish"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_with_no_configuration_everything_lies_in_the_data_folder(tmp_path: Path):
    settings = load().settings
    home = tmp_path / ".modelkeep"
    assert settings.runtime.data_dir == home
    assert settings.runtime.signing_key_file == home / "signing-key.pem"
    assert settings.runtime.public_key_files == (home / "signing-key.pub.pem",)
    assert settings.metadata.database_url == f"sqlite:///{home}/metadata.sqlite"
    assert settings.blob.store_url.endswith(f"{home}/blobs")
    assert not home.exists()


@pytest.mark.parametrize("source", ["flag", "environment", "file"])
def test_the_data_folder_moves_all_that_is_not_set_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str):
    elsewhere, flags = tmp_path / "else where", None
    if source == "flag":
        flags = {"runtime": {"data_dir": elsewhere}}
    elif source == "environment":
        monkeypatch.setenv("MODELKEEP_RUNTIME__DATA_DIR", str(elsewhere))
    else:
        Path("modelkeep.toml").write_text(f"[runtime]\ndata_dir = '{elsewhere}'\n")
    monkeypatch.setenv("MODELKEEP_BLOB__DATABASE_URL", "sqlite:///./mine.sqlite")
    settings = load(flags).settings
    assert settings.metadata.database_url == f"sqlite:///{elsewhere}/metadata.sqlite"
    assert settings.runtime.signing_key_file == elsewhere / "signing-key.pem"
    assert settings.blob.database_url == "sqlite:///./mine.sqlite"


def test_the_last_source_wins_and_is_remembered(monkeypatch: pytest.MonkeyPatch):
    def value() -> tuple[float, str]:
        loaded = load(flags, defaults={"runtime": {"drain_seconds": 1}})
        return loaded.settings.runtime.drain_seconds, loaded.origins["runtime", "drain_seconds"]

    flags: dict[str, dict[str, Any]] = {}
    assert value() == (1, "default")
    Path("modelkeep.toml").write_text("[runtime]\ndrain_seconds = 2\n")
    assert value() == (2, "modelkeep.toml")
    monkeypatch.setenv("MODELKEEP_RUNTIME__DRAIN_SECONDS", "3")
    assert value() == (3, "environment")
    flags["runtime"] = {"drain_seconds": "4"}
    assert value() == (4, "flag")


def test_sources_are_merged_field_by_field(monkeypatch: pytest.MonkeyPatch):
    Path("modelkeep.toml").write_text("[runtime]\ntoken_seconds = 20\nlog_level = 'debug'\n")
    monkeypatch.setenv("MODELKEEP_RUNTIME__LOG_LEVEL", "error")
    monkeypatch.setenv("MODELKEEP_RUNTIME__PUBLIC_KEY_FILES", json.dumps(["/a.pem", "/b.pem"]))
    runtime = load({"runtime": {"reflection": "false"}}).settings.runtime
    assert (runtime.token_seconds, runtime.log_level, runtime.reflection) == (20, "error", False)
    assert runtime.public_key_files == (Path("/a.pem"), Path("/b.pem"))


def test_another_file_may_be_named(tmp_path: Path):
    Path("modelkeep.toml").write_text("[runtime]\ntoken_seconds = 20\n")
    other = tmp_path / "other.toml"
    other.write_text("[metadata]\nrestore_days = 3\n")
    loaded = load(file=other)
    assert (loaded.settings.runtime.token_seconds, loaded.settings.metadata.restore_days) == (60, 3)
    assert loaded.origins["metadata", "restore_days"] == str(other)


def toml(text: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda _patch: Path("modelkeep.toml").write_text(text) and None


def environment(name: str, value: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setenv(name, value)


WRONG = {
    "unknown field in the file": (toml("[blob]\nlease_second = 1\n"), r"blob\.lease_second: there is no such.*modelkeep\.toml"),
    "unknown section in the file": (toml("[blobs]\nlease_seconds = 100\n"), r"blobs.*there is no such.*modelkeep\.toml"),
    "no section in the file": (toml("lease_seconds = 100\n"), "is not a section"),
    "not TOML": (toml("[blob\n"), "not TOML"),
    "unknown field in the environment": (
        environment("MODELKEEP_BLOB__LEASE", "1"),
        r"blob\.lease: there is no such.*environment",
    ),
    "unknown section in the environment": (environment("MODELKEEP_BLOBB__LEASE", "1"), "MODELKEEP_BLOBB__LEASE"),
    "a list that is no JSON": (environment("MODELKEEP_RUNTIME__PUBLIC_KEY_FILES", "/a.pem"), "JSON|valid tuple"),
    "out of range": (environment("MODELKEEP_RUNTIME__TOKEN_SECONDS", "61"), r"runtime\.token_seconds.*60.*environment"),
    "not a number": (environment("MODELKEEP_RUNTIME__TOKEN_SECONDS", "soon"), r"runtime\.token_seconds.*integer"),
    "no database": (environment("MODELKEEP_BLOB__DATABASE_URL", f"mysql://u:{CANARY}@h/d"), r"blob\.database_url.*postgresql:"),
    "no URL": (environment("MODELKEEP_METADATA__DATABASE_URL", CANARY), r"metadata\.database_url.*postgresql:"),
    "not one of the choices": (environment("MODELKEEP_RUNTIME__LOG_LEVEL", "loud"), r"runtime\.log_level.*'debug'"),
}


@pytest.mark.parametrize(("prepare", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_with_its_source(monkeypatch: pytest.MonkeyPatch, prepare, words: str):
    prepare(monkeypatch)
    with pytest.raises(BadSettings, match=words) as caught:
        load()
    assert CANARY not in str(caught.value)


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(BadSettings, match="cannot read"):
        load(file=tmp_path / "gone.toml")


def test_a_suite_for_tests_reads_nothing_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Path("modelkeep.toml").write_text("[blob]\nstore_url = 's3://production'\n")
    monkeypatch.setenv("MODELKEEP_METADATA__DATABASE_URL", "postgresql://production/db")
    settings = load({"runtime": {"data_dir": tmp_path / "d"}}, alone=True).settings
    assert settings.metadata.database_url == f"sqlite:///{tmp_path}/d/metadata.sqlite"
    assert settings.blob.store_url.startswith("file:")


def test_variables_of_the_clients_are_no_settings(monkeypatch: pytest.MonkeyPatch):
    for name in ("URL", "API_KEY", "TEAM", "PROJECT", "BLOB_URL", "LINEAGE_URL", "CONFIG_HOME"):
        monkeypatch.setenv(f"MODELKEEP_{name}", "x")
    load()


def with_canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKEEP_BLOB__S3_SECRET_KEY", f"{CANARY}-1")
    monkeypatch.setenv("MODELKEEP_RUNTIME__SERVICE_KEY", f"{CANARY}-2")
    monkeypatch.setenv("MODELKEEP_METADATA__DATABASE_URL", f"postgresql://u:{CANARY}-3@host/db")


@pytest.mark.peer("M-SEC-1")
def test_secret_values_are_known_to_the_logs(monkeypatch: pytest.MonkeyPatch):
    with_canaries(monkeypatch)
    assert secrets_in(load().settings) == {f"{CANARY}-{number}" for number in (1, 2, 3)}


@pytest.mark.peer("M-SEC-1")
def test_config_show_gives_every_value_and_its_source_but_no_secret(monkeypatch: pytest.MonkeyPatch):
    with_canaries(monkeypatch)
    Path("modelkeep.toml").write_text("[metadata]\nrestore_days = 3\n")
    done = CliRunner().invoke(app, ["config", "show", "--set", "blob.lease_seconds=7200"], catch_exceptions=False)
    lines = done.output.splitlines()
    assert CANARY not in done.output
    assert "metadata.restore_days = 3  (modelkeep.toml)" in lines
    assert "blob.lease_seconds = 7200  (flag)" in lines
    assert "metadata.database_url = postgresql://u:[hidden]@host/db  (environment)" in lines
    assert "runtime.service_key = [hidden]  (environment)" in lines
    assert len(lines) == len(list(fields(load().settings)))


@pytest.mark.peer("M-SEC-1")
def test_a_wrong_secret_setting_is_not_repeated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MODELKEEP_BLOB__S3_SECRET_KEY", f'{{"{CANARY}": 1}}')
    monkeypatch.setenv("MODELKEEP_RUNTIME__TOKEN_SECONDS", CANARY)
    with pytest.raises(BadSettings) as caught:
        load()
    assert CANARY not in str(caught.value)
