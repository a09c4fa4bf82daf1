"""`modelkeep-server`: run the services, migrate their databases, make their keys, check what they keep."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from modelkeep.config import config_home
from modelkeep.errors import ModelkeepError, ServiceUnavailable
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError

from modelkeep_server import embedded, suite
from modelkeep_server.database.migrate import MigrationError
from modelkeep_server.lineage import module as lineage
from modelkeep_server.metadata import module as metadata
from modelkeep_server.runtime import logs, signing_keys
from modelkeep_server.runtime.callers import Role
from modelkeep_server.runtime.lifecycle import CannotStart, told_to_stop
from modelkeep_server.runtime.listening import Address
from modelkeep_server.settings import BadSettings, Layer, Loaded, fields, load, reference, secrets_in

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
config_app = typer.Typer(no_args_is_help=True, help="What the settings are.")
signing_app = typer.Typer(no_args_is_help=True, help="The key pair that access tokens are signed and verified with.")
key_app = typer.Typer(no_args_is_help=True, help="API keys, made by whoever operates the server.")
app.add_typer(config_app, name="config")
app.add_typer(signing_app, name="signing-key")
app.add_typer(key_app, name="api-key")


class What(StrEnum):
    """What `serve` may run."""

    BLOB = "blob"
    METADATA = "metadata"
    LINEAGE = "lineage"
    ALL = "all"


class RoleName(StrEnum):
    """What a key may do in its team."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


ConfigFlag = Annotated[Path | None, typer.Option("--config", help="The settings file; else ./modelkeep.toml if there is one.")]
DataFlag = Annotated[Path | None, typer.Option("--data", help="The data folder; else ./.modelkeep.")]
SetFlag = Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.NAME=VALUE", help="Any one setting.")]

_EXPIRY: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@app.command()
def serve(
    what: Annotated[What, typer.Argument(help="One service, or all in this process.")],
    *,
    config: ConfigFlag = None,
    data: DataFlag = None,
    setting: SetFlag = None,
    listen: Annotated[str | None, typer.Option(help="host:port or unix:/path; else 127.0.0.1:7460.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Only the port; 0 takes any free one.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen beyond this machine without TLS.")] = False,
) -> None:
    """Run one service, or all of them, until SIGTERM or Ctrl-C."""
    is_whole = what is What.ALL
    flags = _flags(data, setting)
    runtime = flags.setdefault("runtime", {})
    runtime |= ({"listen": listen} if listen else {}) | ({"insecure": True} if insecure else {})
    defaults = suite.WHOLE if is_whole else None
    if port is not None:
        host = Address.parse(load(flags, file=config, defaults=defaults).settings.runtime.listen).host
        runtime["listen"] = str(Address(host, port))
    loaded = load(flags, file=config, defaults=defaults)
    logs.configure(loaded.settings.runtime, secrets=secrets_in(loaded.settings))
    asyncio.run(_serve_all(loaded) if is_whole else _serve_one(loaded, what.value))


async def _serve_all(loaded: Loaded) -> None:
    home, settings = config_home(), loaded.settings
    async with (
        suite.serving(settings, list(suite.PARTS)) as url,
        told_to_stop() as stop,  # before anybody is told of the server: they may end it at once
        embedded.findable(settings, url, home) as running,
    ):
        data = settings.runtime.data_dir
        typer.echo(f"Modelkeep serves at {running.url} and keeps its data in {data}. Ctrl-C stops it.", err=True)
        if running.config_home != home:
            typer.echo("Another server is the one that this user's clients find. They find this one with", err=True)
            typer.echo(f"    export MODELKEEP_CONFIG_HOME='{running.config_home}'", err=True)
        await stop.wait()


async def _serve_one(loaded: Loaded, name: str) -> None:
    async with suite.serving(loaded.settings, [name]), told_to_stop() as stop:
        await stop.wait()


@app.command()
def migrate(
    services: Annotated[list[str] | None, typer.Argument(metavar="[SERVICE]…", help="Else all.")] = None,
    config: ConfigFlag = None,
    data: DataFlag = None,
    setting: SetFlag = None,
) -> None:
    """Bring the databases of services up to date. Several replicas may do it at once."""
    names = services or list(suite.PARTS)
    if unknown := sorted(set(names) - set(suite.PARTS)):
        raise BadSettings(f"there is no service {unknown[0]!r}; the services are {', '.join(suite.PARTS)}")
    loaded = _load(config, data, setting)
    asyncio.run(suite.migrate(loaded.settings, names))
    typer.echo(f"The databases are up to date: {', '.join(names)}.")


@config_app.command("show")
def config_show(config: ConfigFlag = None, data: DataFlag = None, setting: SetFlag = None) -> None:
    """Print every setting and where its value comes from. Secrets are hidden."""
    loaded = load(_flags(data, setting), file=config)
    hide = logs.Hiding(secrets_in(loaded.settings))
    for section, name, value in fields(loaded.settings):
        shown = (logs.HIDDEN if value.get_secret_value() else "") if isinstance(value, SecretStr) else value
        shown = ", ".join(map(str, shown)) if isinstance(shown, tuple) else ("" if shown is None else str(shown))
        origin = loaded.origins.get((section, name), "default")
        typer.echo(f"{section}.{name} = {hide(shown)}  ({origin})")


@config_app.command("reference")
def config_reference() -> None:
    """Print all settings with their defaults and meanings, as Markdown."""
    typer.echo(reference(), nl=False)


@signing_app.command("init")
def signing_key_init(config: ConfigFlag = None, data: DataFlag = None, setting: SetFlag = None) -> None:
    """Make the key pair: a private key for metadata alone, a public key for every service."""
    private, public = _key_files(_load(config, data, setting))
    signing_keys.create(private, public)
    typer.echo(f"private key, for metadata only: {private}\npublic key, for every service:  {public}")


@signing_app.command("rotate")
def signing_key_rotate(config: ConfigFlag = None, data: DataFlag = None, setting: SetFlag = None) -> None:
    """Make a new pair and keep the public key before it valid too. docs/operations.md says in which order to hand them out."""
    private, public = _key_files(_load(config, data, setting))
    signing_keys.rotate(private, public)
    typer.echo(f"1. Give {public} to every service and restart them: it holds the new public key and the one before.")
    typer.echo(f"2. Then give {private} to metadata and restart it: from now on it signs with the new key.")


def _key_files(loaded: Loaded) -> tuple[Path, Path]:
    runtime = loaded.settings.runtime
    return runtime.signing_key_file, runtime.public_key_files[0]


@key_app.command("create")
def api_key_create(
    *,
    team: Annotated[str, typer.Option(help="The team; it is made when it is missing.")] = "",
    service: Annotated[str, typer.Option(help="Make a service's own key instead of a team's.")] = "",
    role: Annotated[RoleName | None, typer.Option(help="What the key may do in its team; else admin.")] = None,
    readable_team: Annotated[list[str] | None, typer.Option(help="Another team whose content it may read.")] = None,
    expires: Annotated[str, typer.Option(help="When it ends, from now: 30m, 12h, 90d. Else never.")] = "",
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    config: ConfigFlag = None,
    data: DataFlag = None,
    setting: SetFlag = None,
) -> None:
    """Make an API key and print its secret, which is shown this once and stored only as a hash."""
    if bool(team) == bool(service):
        raise typer.BadParameter("say either --team or --service")
    if service:
        _refuse_of_a_service(role=role, readable_team=readable_team, expires=expires, name=name)
    lifetime = _lifetime(expires)
    settings = _load(config, data, setting).settings.metadata
    if service:
        making = metadata.create_service_key(settings, service)
    else:
        making = metadata.create_key(
            settings,
            team,
            role=Role[(role or RoleName.ADMIN).name],
            readable_teams=readable_team or [],
            lifetime=lifetime,
            display_name=name,
        )
    typer.echo(asyncio.run(making))


def _refuse_of_a_service(**options: object) -> None:
    """Nobody shall believe that a service's key ends, or reads less, because an option was taken without a word."""
    for option, value in options.items():
        if value:
            flag = f"--{option.replace('_', '-')}"
            raise typer.BadParameter(f"{flag} is for the keys of teams; leave it out, or say --team instead of --service")


def _lifetime(text: str) -> timedelta | None:
    if not text:
        return None
    if (match := _EXPIRY.fullmatch(text)) is None:
        raise typer.BadParameter(f"--expires is {text!r}; write a number and s, m, h or d, as in 90d")
    if not (lifetime := timedelta(**{_UNITS[match[2]]: int(match[1])})):
        raise typer.BadParameter(
            f"--expires is {text!r}: the key would have ended already; leave it out for one that never ends"
        )
    return lifetime


@app.command()
def fsck(
    deep: Annotated[bool, typer.Option("--deep", help="Read and hash every stored chunk.")] = False,
    config: ConfigFlag = None,
    data: DataFlag = None,
    setting: SetFlag = None,
) -> None:
    """Check what the services keep, and that it fits together. Changes nothing; exit code 1 when something is broken."""
    settings = _load(config, data, setting).settings
    broken = asyncio.run(_print_findings(suite.findings(settings, deep=deep)))
    typer.echo(f"{broken} broken" if broken else "Nothing is broken.", err=True)
    raise typer.Exit(1 if broken else 0)


@app.command("reread-events")
def reread_events(config: ConfigFlag = None, data: DataFlag = None, setting: SetFlag = None) -> None:
    """Let lineage read all events again: what its graph lacks comes, what it has does not change. It may run meanwhile."""
    asyncio.run(lineage.reread(_load(config, data, setting).settings.lineage))
    typer.echo("The events are read from their beginnings as soon as lineage runs.", err=True)


async def _print_findings(findings: AsyncIterator[suite.Finding]) -> int:
    broken = 0
    async for finding in findings:
        typer.echo(f"{'BROKEN' if finding.is_broken else 'note'}: {finding.text}")
        broken += finding.is_broken
    return broken


def _load(config: Path | None, data: Path | None, setting: list[str] | None) -> Loaded:
    """The settings of a command that does its work and ends."""
    loaded = load(_flags(data, setting), file=config)
    quiet = loaded.settings.runtime.model_copy(update={"log_level": "warning"})
    logs.configure(quiet, secrets=secrets_in(loaded.settings))
    return loaded


def _flags(data: Path | None, setting: list[str] | None) -> Layer:
    flags: Layer = {}
    for text in setting or []:
        name, separator, value = text.partition("=")
        section, dot, field = name.partition(".")
        if not (separator and dot and field):
            raise BadSettings(f"--set {text!r} does not read section.name=value")
        flags.setdefault(section, {})[field] = value
    if data is not None:
        flags.setdefault("runtime", {})["data_dir"] = data
    return flags


def main() -> None:
    """The program."""
    try:
        app()
    except ServiceUnavailable as error:
        sys.exit(f"modelkeep-server: {error}; is database_url right, and did `modelkeep-server migrate` run?")
    except (CannotStart, MigrationError, ModelkeepError) as error:
        sys.exit(f"modelkeep-server: {error}")
    except DBAPIError as error:
        words = logs.Hiding()(str(error.orig))
        sys.exit(f"modelkeep-server: the database answers with an error: {words}; did `modelkeep-server migrate` run?")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"modelkeep-server: {where}{error.strerror or error}")
