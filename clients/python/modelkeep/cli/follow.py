"""Serving nodes: `follow`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelkeep.cli.call import Call, command
from modelkeep.cli.version import Key, required_keys

Address = Annotated[str, typer.Argument(metavar="NAME:ALIAS", help="[[team/]project/]name[:alias]", show_default=False)]
Command = Annotated[
    list[str] | None, typer.Argument(metavar="[-- COMMAND …]", help="Run after each switch; see docs/serving.md.")
]
Root = Annotated[Path, typer.Option(help="The folder; `current` in it leads to the version.", show_default=False)]
Keep = Annotated[int, typer.Option(help="How many versions stay in the folder.")]
Spread = Annotated[float, typer.Option(help="Wait at most so many seconds after a move, as chance has it.")]
Signed = Annotated[bool, typer.Option("--require-signature", help="Load only what a --key signed.")]
ReadyFile = Annotated[Path | None, typer.Option(help="A file that is there while something is loaded.")]
ReadyPort = Annotated[
    str, typer.Option(metavar="[HOST:]PORT", help="Serve /ready and /status over HTTP; on the loopback without HOST.")
]
WarnAge = Annotated[float, typer.Option(help="Warn when the server was not heard of for so many seconds, at least 30.")]
Rollback = Annotated[
    bool, typer.Option("--accept-rollback", help="Believe an older state of the alias than was seen before, once.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "follow")(follow)


def follow(
    call: Call,
    address: Address,
    command: Command = None,
    *,
    root: Root,
    keep: Keep = 2,
    spread: Spread = 5.0,
    require_signature: Signed = False,
    key: Key = None,
    ready_file: ReadyFile = None,
    ready_port: ReadyPort = "",
    warn_age: WarnAge = 900.0,
    accept_rollback: Rollback = False,
) -> None:
    """Keep what an alias points to in a folder of this machine, and follow it when it moves, until it is told to stop.

    SIGTERM ends it with exit code 0, Ctrl-C with 130. What is loaded stays.
    """
    from modelkeep import config  # noqa: PLC0415 - help needs no client
    from modelkeep._follow import Follower, Wish  # noqa: PLC0415
    from modelkeep.cli import node  # noqa: PLC0415

    node.log_to_stderr()
    shown = node.Shown(call, command or [])
    wish = Wish(
        keep=keep,
        on_change=shown.changed,
        keys=required_keys(key, required=require_signature),
        spread_seconds=spread,
        warn_age_seconds=warn_age,
        accept_rollback=accept_rollback,
        # Looked up each time: the server that runs here may come later.
        config=lambda: config.load(call.url or "", team=call.team or "", project=call.project or ""),
    )
    raise typer.Exit(node.run(Follower(address, root, wish), shown, ready_file, ready_port))
