"""Tags: `tag add`, `tag rm`."""

from __future__ import annotations

from typing import Annotated

import typer

from modelkeep.cli import values
from modelkeep.cli.call import Call, command
from modelkeep.cli.version import Address

Tags = Annotated[list[str], typer.Argument(metavar="TAG…", help="The tags.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = typer.Typer(help="Add tags to versions and take them off.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(noun, name="tag")
    command(noun, "add")(add)
    command(noun, "rm")(rm)


def add(call: Call, address: Address, tags: Tags) -> None:
    """Add tags to a version."""
    _edit(call, address, add=tags)


def rm(call: Call, address: Address, tags: Tags) -> None:
    """Take tags off a version."""
    _edit(call, address, remove=tags)


def _edit(call: Call, address: str, **change: list[str]) -> None:
    version = call.api.artifact(address).tag(**change)
    call.out.answer(values.version_json(version), f"{version.name} has the tags: {', '.join(version.tags) or 'none'}")
