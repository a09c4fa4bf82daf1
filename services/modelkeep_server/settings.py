"""All settings of a server, and where each value comes from: defaults < `modelkeep.toml` < environment < flags."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from modelkeep_server.blob.settings import BlobSettings
from modelkeep_server.database.engine import driver_url
from modelkeep_server.lineage.settings import LineageSettings
from modelkeep_server.metadata.settings import MetadataSettings
from modelkeep_server.runtime.lifecycle import CannotStart
from modelkeep_server.runtime.settings import DATA_DIR, RuntimeSettings

FILE: Final = Path("modelkeep.toml")
"""Read from the working directory when it is there and no other file is named."""

_REFERENCE_HEAD: Final = """\
# Settings

Every setting has a default that works: with none at all, everything runs in `./.modelkeep`. A value is taken from the last of
these places that gives one:

1. the default below; what lies in `.modelkeep` moves with `runtime.data_dir`,
2. `modelkeep.toml` in the working directory, or the file of `--config`: `[blob]`, then `lease_seconds = 7200`,
3. the environment: `MODELKEEP_BLOB__LEASE_SECONDS=7200`; a list is written as JSON,
4. flags: `--set blob.lease_seconds=7200`, and for a few `--data`, `--listen`, `--port`, `--insecure`.

A name that is not below is an error, wherever it stands. `modelkeep-server config show` prints each value with its source, and
no secret. This page is the output of `modelkeep-server config reference`.

The clients read other variables: `MODELKEEP_URL`, `MODELKEEP_API_KEY`, `MODELKEEP_TEAM`, `MODELKEEP_PROJECT`,
`MODELKEEP_TIMEOUT_SECONDS`, `MODELKEEP_BLOB_URL`, `MODELKEEP_LINEAGE_URL`, `MODELKEEP_CONFIG_HOME`; `MODELKEEP_CACHE_DIR`,
`MODELKEEP_CACHE_BYTES`; `MODELKEEP_MODE`, `MODELKEEP_OFFLINE_DIR` ([offline](offline.md)); `MODELKEEP_RUN_ID`,
`MODELKEEP_RESUME`, `MODELKEEP_CAPTURE`, `MODELKEEP_SAVE_CODE` ([runs](runs.md)).
"""

Layer = dict[str, dict[str, Any]]
"""Some values, by section and field."""


class Settings(BaseSettings):
    """The settings of all services. `load` reads them; their fields are documented in each section."""

    model_config = SettingsConfigDict(
        env_prefix="MODELKEEP_", env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    runtime: RuntimeSettings = RuntimeSettings()
    blob: BlobSettings = BlobSettings()
    metadata: MetadataSettings = MetadataSettings()
    lineage: LineageSettings = LineageSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` gives: it reads the other sources itself, to remember which value came from where."""
        return (init_settings,)


class BadSettings(CannotStart):
    """Some settings are wrong; the message names each, with its source."""


@dataclass(frozen=True)
class Loaded:
    """Settings, and the source of each value."""

    settings: Settings
    origins: Mapping[tuple[str, str], str]
    """By section and field: `default`, the name of a file, `environment` or `flag`."""


def load(flags: Layer | None = None, *, file: Path | None = None, defaults: Layer | None = None, alone: bool = False) -> Loaded:
    """Read the settings. `defaults` are those of a command, where they differ from the fields' own.

    `alone` reads neither file nor environment: a suite for tests must not write to what somebody configured for real.

    Raises BadSettings for an unknown name, a bad value, or a named file that is not there.
    """
    layers = [(defaults or {}, "default")]
    if not alone:
        layers += [(_from_file(file), str(file or FILE)), (_from_environment(), "environment")]
    layers.append((flags or {}, "flag"))
    data_dir = RuntimeSettings().data_dir
    for layer, _origin in layers:
        data_dir = Path(layer.get("runtime", {}).get("data_dir", data_dir))
    layers.insert(0, (_defaults_in(data_dir.expanduser().absolute()), "default"))
    merged, origins = _merged(layers)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise BadSettings(_explained(error, origins)) from None
    for section, name, value in fields(settings):
        if name == "database_url":
            _check_database_url(f"{section}.{name}", value)
    return Loaded(settings, origins)


def _check_database_url(setting: str, url: str) -> None:
    try:
        driver_url(url)
    except (ValueError, ArgumentError):  # without the URL, which may hold a password
        message = f"{setting} does not name a database: write sqlite:///file or postgresql://user:password@host/database"
        raise BadSettings(message) from None


def secrets_in(settings: Settings) -> set[str]:
    """The values that must not appear in a log: secret settings, and passwords in URLs."""
    found = set()
    for _section, _name, value in fields(settings):
        if isinstance(value, SecretStr):
            found.add(value.get_secret_value())
        elif isinstance(value, str) and "@" in value:
            found.add(_password(value))
    return found - {""}


def fields(settings: Settings) -> Iterator[tuple[str, str, Any]]:
    """Section, field and value of every setting."""
    for section in Settings.model_fields:
        model: BaseModel = getattr(settings, section)
        for name in type(model).model_fields:
            yield section, name, getattr(model, name)


def reference() -> str:
    """`docs/settings.md`: every setting with its default and its meaning."""
    lines = [_REFERENCE_HEAD]
    for section, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        lines += [f"## {section}", "", (model.__doc__ or "").strip(), "", "| setting | default | meaning |", "|---|---|---|"]
        for name, setting in model.model_fields.items():
            meaning = " ".join((setting.description or "").split())
            lines.append(f"| `{section}.{name}` | {_default_text(setting.default)} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def _default_text(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = ", ".join(map(str, value))
    if isinstance(value, bool):
        value = str(value).lower()
    return "" if value is None or value == "" else f"`{value}`"


def _password(url: str) -> str:
    try:
        return make_url(url).password or ""
    except ArgumentError:
        return ""


def _from_file(file: Path | None) -> Layer:
    if file is None and not FILE.exists():
        return {}
    try:
        with (file or FILE).open("rb") as content:
            return tomllib.load(content)
    except OSError as error:
        raise BadSettings(f"cannot read the settings file {file}: {error.strerror}") from error
    except ValueError as error:
        raise BadSettings(f"the settings file {file or FILE} is not TOML: {error}") from error


def _from_environment() -> Layer:
    sections = Settings.model_fields.keys()
    for name in os.environ:
        if name.startswith("MODELKEEP_") and "__" in name:
            section = name.removeprefix("MODELKEEP_").partition("__")[0].lower()
            if section not in sections:
                raise BadSettings(f"the environment sets {name}, but there are only the sections {', '.join(sections)}")
    try:
        return EnvSettingsSource(Settings)()
    except SettingsError as error:
        raise BadSettings(f"the environment holds a list that is not written as JSON: {error}") from None


def _defaults_in(data_dir: Path) -> Layer:
    """The default of every field that lies in the data folder, for the given one."""
    layer: Layer = {}
    for section, name, value in fields(Settings()):
        moved = _moved(value, str(data_dir))
        if moved != value:
            layer.setdefault(section, {})[name] = moved
    return layer


def _moved(value: Any, data_dir: str) -> Any:
    match value:
        case Path():
            return Path(data_dir, *value.parts[1:]) if value.parts[:1] == (DATA_DIR,) else value
        case tuple():
            return tuple(_moved(item, data_dir) for item in value)
        case str():
            return value.replace(f"./{DATA_DIR}/", f"{data_dir}/")
    return value


def _merged(layers: list[tuple[Layer, str]]) -> tuple[Layer, dict[tuple[str, str], str]]:
    merged: Layer = {}
    origins: dict[tuple[str, str], str] = {}
    for layer, origin in layers:
        for section, values in layer.items():
            if not isinstance(values, Mapping):
                raise BadSettings(f"{section} is not a section ({origin}); settings stand in sections, as [runtime] listen = …")
            merged.setdefault(section, {}).update(values)
            origins |= {(section, name): origin for name in values}
    return merged, origins


def _explained(error: ValidationError, origins: Mapping[tuple[str, str], str]) -> str:
    lines = ["these settings are wrong:"]
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        section, name = (*map(str, problem["loc"]), "")[:2]
        origin = origins.get((section, name)) or next((o for (s, _), o in origins.items() if s == section), "")
        words = "there is no such setting" if problem["type"] == "extra_forbidden" else problem["msg"]
        lines.append(f"  {section}.{name}: {words}".replace(".:", ":") + (f" (from {origin})" if origin else ""))
    return "\n".join([*lines, "`modelkeep-server config show` lists all settings, docs/settings.md explains them"])
