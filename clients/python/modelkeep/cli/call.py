"""One call of a command: the options that every command has, and the door through which every error leaves."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelkeep import errors
from modelkeep.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep import Api

EXIT_CODES: dict[type[errors.ModelkeepError], int] = {
    errors.InvalidArgument: 2,
    errors.NotFound: 3,
    errors.Unauthenticated: 4,
    errors.PermissionDenied: 4,
    errors.Unavailable: 5,
    errors.DeadlineExceeded: 5,
    errors.NotConfigured: 5,
    errors.Cancelled: 130,
}
"""What scripts can trust; every other failure is 1. `docs/errors.md` documents them."""

Team = Annotated[
    str | None,
    typer.Option(help="The team, when the address names none. MODELKEEP_TEAM; else the key's."),
]
Project = Annotated[
    str | None,
    typer.Option(help="The project, when the address names none. MODELKEEP_PROJECT; else 'default'."),
]
Url = Annotated[
    str | None,
    typer.Option(help="The server. MODELKEEP_URL; else as `login` saved it, else the one that runs here."),
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON on stdout; messages stay on stderr.")]
_COMMON: dict[str, Any] = {"team": Team, "project": Project, "url": Url, "json": Json}


class Call:
    """What a command gets: where it works, and how it answers."""

    def __init__(
        self, *, team: str | None = None, project: str | None = None, url: str | None = None, json: bool = False
    ) -> None:
        self.team = team
        self.project = project
        self.url = url
        self.out = Output(as_json=json)

    @cached_property
    def api(self) -> Api:
        """The client, opened on first use: help needs no server and no gRPC."""
        from modelkeep import Api  # noqa: PLC0415 - see above

        return Api(url=self.url, team=self.team, project=self.project)

    @contextmanager
    def boundary(self) -> Iterator[None]:
        """Turn whatever goes wrong into one message and an exit code; never a traceback."""
        try:
            yield
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise  # typer's own ways to end
        except errors.ModelkeepError as error:
            self.out.error(error)
            raise typer.Exit(exit_code(error)) from None
        except KeyboardInterrupt:
            self.out.note("interrupted")
            raise typer.Exit(130) from None
        except Exception as error:
            if os.environ.get("MODELKEEP_DEBUG"):
                raise
            told = _unexpected(error)
            self.out.error(told)
            raise typer.Exit(exit_code(told)) from None


def exit_code(error: errors.ModelkeepError) -> int:
    """The exit code that stands for an error."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)


def _unexpected(error: Exception) -> errors.ModelkeepError:
    if isinstance(error, UnicodeEncodeError) and error.encoding == "utf-8":
        from modelkeep._wire import not_text  # noqa: PLC0415 - help needs no wire

        return not_text(error)
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return errors.FileUnreadable(f"{error.strerror}{where}")
    kind = type(error).__name__
    return errors.InternalError(f"{kind}: {error}; set MODELKEEP_DEBUG=1 to see where, and please report it", type=kind)


def keep_common(context: typer.Context, values: dict[str, Any]) -> dict[str, Any]:
    """The common options, given before or after the name of the command; the later one counts."""
    given = {name: values.pop(name) for name in _COMMON}
    kept = {**(context.obj or {}), **{name: value for name, value in given.items() if value}}
    context.obj = kept
    return kept


def with_common(run: Callable[..., None], own: list[inspect.Parameter], name: str, doc: str | None) -> Callable[..., None]:
    """`run(context, **values)` as a function whose signature shows typer its own and the common options."""
    common = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=False if key == "json" else None, annotation=kind)
        for key, kind in _COMMON.items()
    ]
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

    def command(context: typer.Context, **values: Any) -> None:
        run(context, **values)

    parameters = [context, *own, *common]
    command.__name__, command.__doc__ = name, doc
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def command(app: typer.Typer, name: str, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register `function(call, …)` as a command of `app`."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(function, eval_str=True).parameters.values()

        def run(context: typer.Context, **values: Any) -> None:
            call = Call(**keep_common(context, values))
            with call.boundary():
                function(call, **values)

        app.command(name, **settings)(with_common(run, own, function.__name__, function.__doc__))
        return function

    return register
