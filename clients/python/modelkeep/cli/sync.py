"""Offline work: `sync` replays what runs recorded without a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelkeep.cli.call import Call, command
from modelkeep.cli.output import size
from modelkeep.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelkeep._sync import Outcome

SHOWN = 4
"""How many versions a cell of the table names."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "sync")(sync)


def sync(
    call: Call,
    *,
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR]", help="Folders of runs, or that have some in them; else MODELKEEP_OFFLINE_DIR.", show_default=False
        ),
    ] = None,
    deep: Annotated[bool, typer.Option("--all", help="Find runs in all folders below too.")] = False,
    clean: Annotated[bool, typer.Option("--clean", help="Remove what is synced to its end, and what kills left.")] = False,
    skip: Annotated[
        int | None, typer.Option(metavar="RECORD", help="Leave this record of the one run DIR out, for good.")
    ] = None,
    run_id: Annotated[
        str, typer.Option("--run-id", metavar="ID", help="Begin the one run DIR under another id.", show_default=False)
    ] = "",
) -> None:
    """Replay what was recorded with `mode="offline"`, oldest run first.

    Safe to repeat, and to interrupt: every record is replayed once, in its order. A run stops at a record that fails, the
    others go on, and the exit code is 1.
    """
    from modelkeep import _offline_leftover, config  # noqa: PLC0415 - help needs no client
    from modelkeep._channel import connect  # noqa: PLC0415
    from modelkeep._offline_find import runs_in  # noqa: PLC0415
    from modelkeep._sync import sync as replay  # noqa: PLC0415

    given = [str(folder) for folder in _given(folders)]
    found = [run for folder in given for run in runs_in(folder, deep=deep)]
    _check(found, skip, run_id)
    for folder in given if clean else ():
        _offline_leftover.sweep(folder, deep=deep)
    outcomes: list[Outcome] = []
    try:
        connection = found and connect(config.load(call.url or "", team=call.team or "", project=call.project or ""))
        for outcome in replay(connection, found, clean=clean, skip=skip, run_id=run_id) if connection else ():
            _tell(call, outcome)
            outcomes.append(outcome)
    except BaseException:
        if outcomes:
            _show(call, outcomes)
        raise
    _show(call, outcomes)
    _fail(call, outcomes)


def _check(found: list[str], skip: int | None, run_id: str) -> None:
    """Refuse what is meant for one run, where there are several."""
    if skip is not None and (len(found) != 1 or skip < 1):
        raise InvalidArgument("--skip takes the number of a record, and DIR the folder of its run", field="skip", value=skip)
    if run_id and len(found) != 1:
        raise InvalidArgument("--run-id takes the new id of one run, and DIR its folder", field="run-id", value=run_id[:100])


def _given(folders: list[Path] | None) -> list[Path]:
    from modelkeep import config  # noqa: PLC0415 - help needs no client

    if not folders:
        return [Path(config.offline_dir())]  # where nothing was recorded yet, there need not be one
    for folder in folders:
        if not folder.is_dir():
            raise InvalidArgument(
                f"{str(folder)!r} is no folder; give one that a run recorded into", field="dir", value=str(folder)
            )
    return folders


def _tell(call: Call, outcome: Outcome) -> None:
    if outcome.blank:
        what = "its folder is removed" if outcome.removed else "--clean removes its folder"
        call.out.note_each(f"{outcome.folder}: its run ended before anything of it was recorded; {what}")
    if outcome.torn and outcome.steps:
        call.out.note(f"{outcome.folder}: its last record was never completed, so it was left out")
    if not outcome.is_kept:
        call.out.note_each(
            "this server keeps no runs: what was logged and used is synced; metrics, config and code wait in the folder until"
            " it does, so that --clean leaves it (MODELKEEP_LINEAGE_URL says where lineage has an address of its own)"
        )
    for step in outcome.steps:
        if step.ignored_fields:
            call.out.note(f"{step.version} had this content already; not applied to it: {', '.join(step.ignored_fields)}")
        if step.not_better and not step.version:
            call.out.note(f"record {step.record} is left out: {step.not_better}")
        elif step.not_better:
            call.out.note(f"record {step.record} made nothing, {step.version} stays the best: {step.not_better}")


def _fail(call: Call, outcomes: list[Outcome]) -> None:
    """Raise the first failure, if there is one; the others are told."""
    failures = [outcome.error for outcome in outcomes if outcome.error is not None]
    for failed in failures[1:]:
        call.out.note_each(f"error: {failed}")
    if failures:
        raise failures[0]


def _show(call: Call, outcomes: list[Outcome]) -> None:
    columns: dict[str, Callable[[Any], str]] = {
        "RUN": lambda o: o.name or Path(o.folder).name,  # what another sync is at was not read
        "STATE": lambda o: o.state,
        "RECORDS": lambda o: f"{len(o.steps)} of {o.records}",
        "LOGGED": lambda o: _names(o, "log"),
        "USED": lambda o: _names(o, "use"),
        "SENT": lambda o: size(sum(step.sent_bytes for step in o.steps)),
    }
    call.out.table(outcomes, outcome_json, columns, empty="no run was recorded offline here")


def _names(outcome: Outcome, kind: str) -> str:
    names = [step.version for step in outcome.steps if step.kind == kind and not step.not_better]
    return ", ".join(names[:SHOWN]) + (f", and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """What a sync did with one run."""
    error = outcome.error
    return {
        "folder": outcome.folder,
        "run": outcome.run,
        "name": outcome.name,
        "project": outcome.project,
        "state": outcome.state,
        "records": outcome.records,
        "replayed": [step._asdict() for step in outcome.steps],
        "runs_kept": outcome.is_kept,
        "waiting": outcome.waiting,
        "torn": outcome.torn,
        "blank": outcome.blank,
        "removed": outcome.removed,
        "error": error and {"reason": error.reason, "message": error.message, "metadata": error.metadata},
    }
