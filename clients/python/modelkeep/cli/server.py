"""The server that runs here, and the one that this user logs in to: `up`, `login`."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from modelkeep.cli.call import Call, command
from modelkeep.errors import InvalidArgument, NotConfigured

PROGRAM = "modelkeep-server"
NEEDED = ("sqlmodel", "alembic", "grpc_health", "jwt")
"""Packages that only the extra `server` brings."""


def server_command() -> str:
    """The server's program beside this Python, else on the PATH. Raises NotConfigured, which says how to install it."""
    beside = Path(sys.executable).with_name(PROGRAM)
    found = str(beside) if beside.exists() else shutil.which(PROGRAM)
    if found is None or any(find_spec(name) is None for name in NEEDED):
        raise NotConfigured("the server is not installed here; install it: pip install 'modelkeep[server]'")
    return found


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "up", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(up)
    command(app, "login")(login)


def up(
    call: Call,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[OPTIONS]", help="Options of `modelkeep-server serve all`.")
    ] = None,
) -> None:
    """Run the whole suite here, in ./.modelkeep, until Ctrl-C."""
    del call
    program = server_command()
    os.execv(program, [program, "serve", "all", *(options or [])])  # noqa: S606 - it becomes the server, so signals reach it


def login(
    call: Call,
    key: Annotated[str, typer.Option(metavar="-", help="- reads the API key from stdin; else it is asked for.")] = "",
) -> None:
    """Save a server and an API key for this user, after trying them.

    --team and --project are saved too, as what to use when nothing else says.
    """
    from modelkeep import Api, config  # noqa: PLC0415 - help needs no client

    if key not in {"", "-"}:
        raise InvalidArgument(
            "a key on the command line is seen by everybody on this machine; give it by `--key -` and stdin", field="key"
        )
    url = call.url or os.environ.get("MODELKEEP_URL", "") or _ask("url", "The server (grpc://host:port)", "--url", hide=False)
    secret = sys.stdin.readline().strip() if key else _ask("key", "The API key", "--key -", hide=True)
    next(iter(Api(url=url, api_key=secret, team=call.team).projects()), None)
    path = config.save_login(url, secret, team=call.team or "", project=call.project or "")
    call.out.answer({"url": url, "path": str(path)}, f"logged in to {url}; saved in {path}")


def _ask(field: str, question: str, option: str, *, hide: bool) -> str:
    if not sys.stdin.isatty():
        raise InvalidArgument(f"nobody can be asked for the {field} here; give {option}", field=field)
    return str(typer.prompt(question, hide_input=hide, err=True))
