"""The command line: the same nouns and verbs as the contract, for people and for scripts."""

from __future__ import annotations

import inspect
import sys
from importlib.metadata import version as installed_version
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelkeep.cli import (
    alias,
    cache,
    collection,
    draft,
    follow,
    key,
    lineage,
    project,
    run,
    server,
    sign,
    sync,
    tag,
    version,
)
from modelkeep.cli.call import keep_common, with_common

if TYPE_CHECKING:
    from collections.abc import Callable


def _app() -> typer.Typer:
    app = typer.Typer(
        name="modelkeep",
        help="Keep models: log them, name the versions that matter, fetch them anywhere.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root())
    for noun in (server, version, sign, follow, draft, collection, alias, tag, run, lineage, project, key, cache, sync):
        noun.register(app)
    return app


def _root() -> Callable[..., None]:
    """The options before the name of a command."""

    def begin(context: typer.Context, **values: Any) -> None:
        values.pop("version")
        keep_common(context, values)

    shown = Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")]
    own = [inspect.Parameter("version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=shown)]
    return with_common(begin, own, "modelkeep", None)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"modelkeep {installed_version('modelkeep')}\n")
        raise typer.Exit


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a name still gets an answer
    _app()()
