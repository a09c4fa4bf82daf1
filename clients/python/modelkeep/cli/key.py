"""API keys: `key create`, `key ls`, `key revoke`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

import typer

from modelkeep.cli import values
from modelkeep.cli.call import Call, command
from modelkeep.cli.output import shown_when
from modelkeep.errors import InvalidArgument

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = typer.Typer(help="Make and revoke API keys; needs an admin's key.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(noun, name="key")
    for function in (create, ls, revoke):
        command(noun, function.__name__)(function)


def create(
    call: Call,
    name: Annotated[str, typer.Option(help="What people call the key.")] = "",
    role: Annotated[Literal["read", "write", "admin"], typer.Option(help="What it may do in the team.")] = "write",
    readable_team: Annotated[list[str] | None, typer.Option(help="Another team it may read; may be repeated.")] = None,
    expires: Annotated[str, typer.Option(metavar="30d|12h|45m", help="When it ends; never, if not given.")] = "",
) -> None:
    """Make an API key. Its secret is shown once, and nowhere again."""
    made = call.api.create_key(
        display_name=name, role=role, readable_teams=readable_team or [], expires=parse_duration(expires) if expires else None
    )
    call.out.note(f"{made.key.id}: keep it now, nobody can show it again")
    call.out.answer(values.key_json(made.key) | {"secret": made.secret}, made.secret)


def ls(call: Call) -> None:
    """List the keys of the team, revoked ones too."""
    call.out.table(
        call.api.keys(),
        values.key_json,
        {
            "ID": lambda k: k.id,
            "NAME": lambda k: k.display_name,
            "ROLE": lambda k: k.role,
            "READS": lambda k: ", ".join(k.readable_teams),
            "CREATED": lambda k: shown_when(k.create_time),
            "EXPIRES": lambda k: shown_when(k.expire_time) or "never",
            "REVOKED": lambda k: shown_when(k.revoke_time),
        },
        empty="no keys",
    )


def revoke(
    call: Call, key: Annotated[str, typer.Argument(metavar="ID", help="The id, as `key ls` shows it.", show_default=False)]
) -> None:
    """End a key for good; what it made ends within 60 s."""
    revoked = call.api.revoke_key(key)
    call.out.answer(values.key_json(revoked), f"{revoked.id} revoked")


def parse_duration(text: str) -> timedelta:
    """Read `30d`, `12h`, `45m` or `90s`. Raises InvalidArgument."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if match is None:
        raise InvalidArgument(f"{text[:40]!r} is no duration; expected a number and s, m, h or d, such as 30d", field="expires")
    return timedelta(**{UNITS[match[2]]: int(match[1])})
