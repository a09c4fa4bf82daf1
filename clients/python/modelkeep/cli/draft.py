"""Drafts: `draft create`, `draft add`, `draft rm`, `draft ls`, `draft show`, `draft commit`, `draft abort`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelkeep.cli import values
from modelkeep.cli.call import Call, command
from modelkeep.cli.output import files, shown_when, size
from modelkeep.cli.version import Metadata, OnlyIfBetter, read_condition, read_metadata

Draft = Annotated[
    str, typer.Argument(metavar="DRAFT", help="The id of a draft, as `draft create` answers it.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = typer.Typer(help="Make a version step by step, or from another one.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(noun, name="draft")
    command(noun, "create")(create)
    command(noun, "add")(add)
    command(noun, "rm")(rm)
    command(noun, "ls")(ls)
    command(noun, "show")(show)
    command(noun, "commit")(commit)
    command(noun, "abort")(abort)


def create(
    call: Call,
    address: Annotated[str, typer.Argument(help="name:v3 to begin with that version's files, or name.", show_default=False)],
    *,
    type: Annotated[str, typer.Option(help="What kind of thing it is, when the collection is new.", show_default=False)] = "",  # noqa: A002 - the option's name
    collection: Annotated[str, typer.Option(help="Make the version there instead.", show_default=False)] = "",
    distributed_id: Annotated[
        str, typer.Option(help="What all writers of the version call it; the second finds the draft of the first.")
    ] = "",
) -> None:
    """Open a draft. It ends by itself when nothing is added for a day."""
    draft = call.api.draft(address, type, collection=collection or None, distributed_id=distributed_id)
    call.out.answer(values.draft_json(draft), draft.id)


def add(
    call: Call,
    draft: Draft,
    *,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files and folders.", show_default=False)],
    under: Annotated[str, typer.Option(help="The folder of the version that they go into.", show_default=False)] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same path.")] = False,
) -> None:
    """Add files and folders to a draft. A folder gives its content."""
    opened = call.api.open_draft(draft)
    for path in paths:
        if path.is_dir():
            opened.add_dir(path, under.rstrip("/") or None, overwrite=overwrite)
        else:
            opened.add_file(path, f"{under.rstrip('/')}/{path.name}" if under else None, overwrite=overwrite)
    opened.flush()
    about = values.draft_json(opened) | {"sent_bytes": opened.sent_bytes}
    call.out.answer(about, f"added to {opened.collection}; {size(opened.sent_bytes)} sent")


def rm(
    call: Call,
    draft: Draft,
    *,
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files and folders of the draft.", show_default=False)],
) -> None:
    """Take files out of a draft, and folders with all that lies under them: all or none."""
    opened = call.api.open_draft(draft)
    count = opened.remove(*paths)
    call.out.answer(values.draft_json(opened) | {"removed": count}, f"{files(count)} removed from the draft")


def ls(
    call: Call,
    *,
    state: Annotated[str, typer.Option(help="Only those: open, committed, aborted or expired.", show_default=False)] = "",
) -> None:
    """List the drafts of the project, newest first."""
    columns = {
        "DRAFT": lambda d: d.id,
        "COLLECTION": lambda d: d.collection,
        "STATE": lambda d: d.state.lower() + (f" as {d.version}" if d.version else ""),
        "BASE": lambda d: values.short_version(d.base),
        "ID": lambda d: d.distributed_id,
        "CREATED": lambda d: shown_when(d.create_time),
        "BY": lambda d: d.creator,
    }
    call.out.table(call.api.drafts(state=state or None), values.draft_json, columns, empty="no drafts")


def show(call: Call, draft: Draft) -> None:
    """Show a draft."""
    opened = call.api.open_draft(draft)
    call.out.details(values.draft_json(opened), values.draft_details(opened))


def commit(
    call: Call,
    draft: Draft,
    *,
    alias: Annotated[list[str] | None, typer.Option(help="An alias to move to the version; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag for the version; may be repeated.")] = None,
    metadata: Metadata = "",
    description: Annotated[str, typer.Option(help="What it is, in Markdown.")] = "",
    only_if_better: OnlyIfBetter = "",
) -> None:
    """Make a draft a version; the same again answers the same."""
    opened, words = call.api.open_draft(draft), read_metadata(metadata)
    better = read_condition(only_if_better)
    version = opened.commit(aliases=alias or [], tags=tag or [], metadata=words, description=description, only_if_better=better)
    call.out.answer(values.logged_json(version), values.logged_words(version, "committed", f"  {version.digest}"))


def abort(call: Call, draft: Draft) -> None:
    """Give a draft up."""
    opened = call.api.open_draft(draft)
    opened.abort()
    call.out.answer(values.draft_json(opened), f"the draft of {opened.collection} is {opened.state.lower()}")
