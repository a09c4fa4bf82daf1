"""Collections, and what is in them: `ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelkeep.cli import values
from modelkeep.cli.call import Call, command
from modelkeep.cli.output import shown_when, size
from modelkeep.cli.values import is_folder
from modelkeep.cli.version import Address
from modelkeep.config import DEFAULT_PROJECT
from modelkeep.errors import InvalidArgument, ProjectNotFound
from modelkeep.names import ANY, CollectionName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep import Collection, Version


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "ls")(ls)
    command(app, "files")(files_)
    command(app, "mv")(mv)
    command(app, "names")(names)


def ls(
    call: Call,
    *,
    what: Annotated[
        str,
        typer.Argument(
            help="A collection; - for all of the project, with --project - of all projects; with --files a version."
        ),
    ] = "",
    files: Annotated[bool, typer.Option("--files", "-f", help="List the files of a version.")] = False,
    path: Annotated[str, typer.Option(help="With --files: only this file, or what lies under this folder.")] = "",
    type: Annotated[str, typer.Option(help="Only collections of this type.")] = "",  # noqa: A002 - the option's name
    filter: Annotated[  # noqa: A002 - the option's name
        str, typer.Option(help="Only what this is true of, as: metadata.acc > 0.9 AND NOT alias:best", show_default=False)
    ] = "",
    order: Annotated[str, typer.Option(help="Sort by this, as: -metadata.acc, create_time", show_default=False)] = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="With a collection: deleted versions too.")] = False,
) -> None:
    """List collections, versions or files.

    Without a name the collections of the project, with one the versions of that collection, with --files the files of a
    version. `docs/filter.md` describes --filter and --order.
    """
    if files and not what:
        raise InvalidArgument("--files needs a version, such as digits:best", field="what")
    if files and (filter or order):
        raise InvalidArgument("--files takes no --filter and no --order; --path chooses files", field="files")
    if files:
        _list_files(call, what, path)
    elif what:
        found = call.api.versions(what, filter=filter, order=order, show_deleted=deleted)
        _list_versions(call, what, found, filtered=bool(filter))
    else:
        _list_collections(call, type, filter, order)


def files_(
    call: Call,
    address: Address,
    folder: Annotated[str, typer.Argument(help="A folder of the version; its root when there is none.")] = "",
) -> None:
    """List the files and folders that lie directly in a folder of a version."""
    columns = {
        "SIZE": lambda f: "" if is_folder(f) else "?" if f.size_bytes is None else size(f.size_bytes),
        "DIGEST": lambda f: "" if is_folder(f) else str(f.digest)[:19],
        "PATH": lambda f: f.path + ("/" if is_folder(f) else "*" if f.executable else ""),
    }
    found = call.api.artifact(address).ls(folder)
    call.out.table(found, values.content_json, columns, empty="no files")


def mv(
    call: Call,
    name: Annotated[str, typer.Argument(help="[[team/]project/]name", show_default=False)],
    destination: Annotated[
        str, typer.Argument(help="[project/]name, in the default project when it names none.", show_default=False)
    ],
) -> None:
    """Give a collection another name, or take it to another project. Versions, aliases and history go with it."""
    moved = call.api.move(name, destination)
    call.out.answer(values.collection_json(moved), f"{name} is {moved.resource_name} now")


def names(call: Call, name: Annotated[str, typer.Argument(help="[[team/]project/]name", show_default=False)]) -> None:
    """List the names that a collection had, newest first."""
    columns = {
        "WHEN": lambda c: shown_when(c.change_time),
        "FROM": lambda c: c.from_collection,
        "TO": lambda c: c.to_collection,
        "BY": lambda c: c.actor,
    }
    found = call.api.collection_history(name)
    call.out.table(found, values.name_change_json, columns, empty=f"{name} never had another name")


def _list_collections(call: Call, type_: str, filter_: str, order: str) -> None:
    across = call.api.default_project == ANY
    columns = {
        "NAME": lambda c: f"{CollectionName.parse(c.resource_name).project}/{c.name}" if across else c.name,
        "TYPE": lambda c: c.type,
        "LATEST": lambda c: c.latest_version or "-",
        "VERSIONS": lambda c: f"{c.version_count:,}",
        "CREATED": lambda c: shown_when(c.create_time),
        "DESCRIPTION": lambda c: values.first_line(c.description),
    }
    empty = "no collection fits the filter" if filter_ else "no collections here yet; `put` logs the first"
    call.out.table(_collections(call, type_, filter_, order), values.collection_json, columns, empty=empty)


def _collections(call: Call, type_: str, filter_: str, order: str) -> Iterator[Collection]:
    try:
        yield from call.api.collections(type=type_, filter=filter_, order=order)
    except ProjectNotFound:
        if call.api.default_project != DEFAULT_PROJECT:
            raise  # somebody named it, so it may be a slip of the pen; the default one is only not made yet


def _list_versions(call: Call, what: str, found: Iterator[Version], *, filtered: bool) -> None:
    across = ANY in (what.split("/")[:-1] or [call.api.default_project])
    columns = {
        "NAME": lambda v: f"{v.project}/{v.name}" if across else v.name,
        "ALIASES": lambda v: ", ".join(v.aliases),
        "TAGS": lambda v: ", ".join(v.tags),
        "FILES": lambda v: f"{v.entry_count:,}",
        "SIZE": lambda v: size(v.stored_bytes),
        "CREATED": lambda v: shown_when(v.create_time),
        "DESCRIPTION": lambda v: f"[{v.state.lower()}]" if v.tombstone else values.first_line(v.description),
    }
    empty = "no version fits the filter" if filtered else f"{what} has no versions"
    call.out.table(found, values.version_json, columns, empty=empty)


def _list_files(call: Call, address: str, path: str) -> None:
    columns = {
        "SIZE": lambda f: "?" if f.size_bytes is None else size(f.size_bytes),
        "DIGEST": lambda f: str(f.digest)[:19],
        "PATH": lambda f: f.path + ("*" if f.executable else ""),
    }
    call.out.table(call.api.artifact(address).files(path), values.file_json, columns, empty="no such files")
