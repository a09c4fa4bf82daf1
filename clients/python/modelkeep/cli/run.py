"""Runs: `run ls`, `run show`, `run compare`, `run best`, `run metrics`, `run edit`, `run tag`, `run rm`."""

from __future__ import annotations

import json
import sys
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelkeep._printable import printable
from modelkeep.cli import run_values as values
from modelkeep.cli.call import Call, command
from modelkeep.cli.output import MAX_COUNT, shown_when
from modelkeep.cli.version import given_text
from modelkeep.config import DEFAULT_PROJECT
from modelkeep.errors import InvalidArgument, InvalidMetadata, ProjectNotFound
from modelkeep.names import ANY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep import RecordedRun

Name = Annotated[
    str, typer.Argument(metavar="RUN", help="[[team/]project/]id, or its name when no other has it.", show_default=False)
]
Filter = Annotated[
    str, typer.Option(help='Only runs that this is true of, as: config.lr < 0.01 AND state = "finished"', show_default=False)
]
Order = Annotated[str, typer.Option(help="Sort by this, as: -summary.acc, name", show_default=False)]
Limit = Annotated[int, typer.Option(help="At most so many; 0 means all.", min=0, max=MAX_COUNT, show_default=False)]
Config = Annotated[
    str | None, typer.Option(metavar="JSON|@FILE", help="Its config, all of it; @- is stdin.", show_default=False)
]
Tags = Annotated[list[str] | None, typer.Argument(metavar="[TAG…]", help="Tags to add.", show_default=False)]
Remove = Annotated[list[str] | None, typer.Option(metavar="TAG", help="A tag to take off; may be repeated.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = typer.Typer(help="Look at runs: find, compare, edit, delete.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(noun, name="run")
    for function in (ls, show, compare, best, metrics, edit, tag, rm):
        command(noun, function.__name__)(function)


def ls(call: Call, *, filter: Filter = "", order: Order = "", limit: Limit = 0) -> None:  # noqa: A002 - the option's name
    """List the runs of the project, newest first; with --project - those of all projects of the team.

    `docs/filter.md` describes --filter and --order.
    """
    across = call.api.default_project == ANY
    columns = {
        "NAME": lambda r: values.cell(f"{r.project}/{r.name}" if across else r.name),
        "ID": lambda r: r.id,
        "STATE": lambda r: r.state.lower(),
        "TYPE": lambda r: r.job_type,
        "STARTED": lambda r: shown_when(r.start_time),
        "TOOK": values.took,
        "TAGS": lambda r: values.cell(", ".join(r.tags)),
        "SUMMARY": values.short_summary,
    }
    empty = "no run fits the filter" if filter else "no runs here yet; modelkeep.init() begins one"
    found = _runs(call, filter, order)
    call.out.table(islice(found, limit) if limit else found, values.run_json, columns, empty=empty)


def _runs(call: Call, filter_: str, order: str) -> Iterator[RecordedRun]:
    try:
        yield from call.api.runs(filter=filter_, order=order)
    except ProjectNotFound:
        if call.api.default_project != DEFAULT_PROJECT:
            raise  # somebody named it, so it may be a slip of the pen; the default one is only not made yet


def show(call: Call, run: Name) -> None:
    """Show a run: its code, config and data, and what came out."""
    found = call.api.run(run)
    if call.out.as_json:
        call.out.answer(values.run_json(found) | values.links_json(used=found.used(), produced=found.produced()))
    else:
        call.out.details({}, values.run_details(found, found.used(), found.produced()))


def compare(
    call: Call,
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN…", help="Two runs or more.", show_default=False)],
    *,
    all: Annotated[bool, typer.Option("--all", help="What is equal, too.")] = False,  # noqa: A002 - the option's name
) -> None:
    """Compare runs: config, summary, code, environment, and the versions that they used."""
    from modelkeep.cli.run_compare import headings, rows  # noqa: PLC0415 - only this command needs it

    if len(runs) < 2:
        raise InvalidArgument("there is nothing to compare one run with; name two or more", field="runs")
    found = [call.api.run(run) for run in runs]
    lines = rows(found, [run.used() for run in found])
    if call.out.as_json:
        about = [{"id": run.id, "name": run.name, "resource_name": run.resource_name} for run in found]
        call.out.answer({"runs": about, "rows": [row.to_json() for row in lines]})
        return
    shown = [row for row in lines if all or not row.equal]
    columns = [("", lambda row: row.key), *((head, _cell(index)) for index, head in enumerate(headings(found)))]
    call.out.table(shown, lambda row: row.to_json(), columns, empty="there is no difference")
    if len(shown) < len(lines):
        call.out.note(f"{len(lines) - len(shown):,} more are equal; --all shows them")


def _cell(index: int) -> Any:
    return lambda row: row.cell(index)


def best(
    call: Call,
    metric: Annotated[str, typer.Argument(help="Its key in the summary: acc, eval.acc.", show_default=False)],
    *,
    goal: Annotated[str, typer.Option(help="Which value is best: max or min.")] = "max",
    filter: Filter = "",  # noqa: A002 - the option's name
) -> None:
    """Find the run with the best value of a metric, and what it produced."""
    run = call.api.best_run(metric, goal=goal, filter=filter)
    produced = [
        {"name": link.node.name, "resource_name": link.node.resource_name, "type": link.node.type} for link in run.best_produced
    ]
    data = values.run_json(run) | {"value": values.plain(run.best_value), "produced": produced}
    told = [(values.placed(link.node, run), link.node.type) for link in run.best_produced]
    names = "\n".join(f"{name}  ({type_})" for name, type_ in told if name)
    call.out.details(data, {metric: values.shown(run.best_value), "run": f"{run.name}  ({run.id})", "produced": names})


def metrics(
    call: Call,
    run: Name,
    key: Annotated[str, typer.Argument(help="Show the values of this one.")] = "",
) -> None:
    """List what a run measured; with a key every value of that metric."""
    found = call.api.run(run)
    if key:
        columns = {"STEP": lambda p: str(p.step), "VALUE": lambda p: repr(p.value)}
        call.out.table(found.history(key), values.point_json, columns, empty=f"{key} has no values")
        return
    columns = {
        "METRIC": lambda m: m.key,
        "POINTS": lambda m: f"{m.point_count:,}",
        "LAST": lambda m: values.shown(m.last_value),
        "AT STEP": lambda m: str(m.last_step) + (" (steps went back)" if m.steps_went_back else ""),
        "MIN": lambda m: values.shown(m.min_value),
        "MAX": lambda m: values.shown(m.max_value),
        "IN SUMMARY": lambda m: m.summary,
    }
    call.out.table(found.metrics(), values.metric_json, columns, empty=f"{found.name} measured nothing")


def edit(
    call: Call,
    run: Name,
    *,
    name: Annotated[str | None, typer.Option(help="What people call it.", show_default=False)] = None,
    group: Annotated[str | None, typer.Option(help="What it belongs to, such as a sweep.", show_default=False)] = None,
    notes: Annotated[str | None, typer.Option(help="What was noted about it, in Markdown.", show_default=False)] = None,
    config: Config = None,
) -> None:
    """Edit the words of a run."""
    given: dict[str, Any] = {"name": name, "group": group, "notes": notes}
    if config is not None:
        given["config"] = _read_config(config)
    changes = {key: value for key, value in given.items() if value is not None}
    if not changes:
        raise InvalidArgument("nothing to edit; give --name, --group, --notes or --config", field="edit")
    edited = call.api.run(run).edit(**changes)
    call.out.answer(values.run_json(edited), f"{edited.name} edited")


def tag(call: Call, run: Name, tags: Tags = None, *, remove: Remove = None) -> None:
    """Add tags to a run, and take tags off it."""
    if not tags and not remove:
        raise InvalidArgument("no tag to add and none to take off; give TAG, or --remove TAG", field="tags")
    found = call.api.run(run)
    if tags:
        found = found.add_tags(*tags)
    if remove:
        found = found.remove_tags(*remove)
    call.out.answer(values.run_json(found), f"{found.name} has the tags: {', '.join(found.tags) or 'none'}")


def rm(
    call: Call,
    run: Name,
    *,
    delete_versions: Annotated[
        bool, typer.Option("--delete-versions", help="Delete the versions that it was the first to produce, too.")
    ] = False,
    delete_aliases: Annotated[bool, typer.Option("--delete-aliases", help="Even those that have aliases.")] = False,
    reason: Annotated[str, typer.Option(help="Why.", show_default=False)] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a run and what it measured. What it produced stays, and so does its place in the lineage."""
    if delete_aliases and not delete_versions:
        raise InvalidArgument(
            "--delete-aliases says what becomes of versions; it needs --delete-versions", field="delete_aliases"
        )
    found = call.api.run(run)
    what = f"{found.name} ({found.id}){' and the versions that it produced' if delete_versions else ''}"
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidArgument(f"this would delete {what}, for good; nobody can be asked here, so say --yes", field="yes")
        typer.confirm(printable(f"Delete {what}, for good?"), abort=True, err=True)
    gone = found.delete(delete_versions=delete_versions, delete_aliases=delete_aliases, reason=reason)
    data = {"id": found.id, "resource_name": found.resource_name, "deleted_versions": [v.resource_name for v in gone]}
    call.out.answer(data, f"{found.name} deleted", *(f"{version.name} deleted" for version in gone))


def _read_config(text: str) -> dict[str, Any]:
    """The object that `--config` gives: JSON, or the file after an @. Raises InvalidMetadata, NotFound."""
    try:
        config = json.loads(given_text(text, "a config"))
    except (ValueError, RecursionError) as error:
        raise InvalidMetadata(f"the config is not JSON: {error}", field="config") from None
    if not isinstance(config, dict):
        raise InvalidMetadata(f"the config must be a JSON object, not {type(config).__name__}", field="config")
    return config
