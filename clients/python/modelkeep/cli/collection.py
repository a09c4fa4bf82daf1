"""Collections, and what is in them: `ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelkeep.cli import values
from modelkeep.cli.call import Call, command
from modelkeep.cli.output import shown_when, size
from modelkeep.config import DEFAULT_PROJECT
from modelkeep.errors import InvalidArgument, ProjectNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep import Collection


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "ls")(ls)


def ls(
    call: Call,
    *,
    what: Annotated[str, typer.Argument(help="A collection, or with --files a version.")] = "",
    files: Annotated[bool, typer.Option("--files", "-f", help="List the files of a version.")] = False,
    path: Annotated[str, typer.Option(help="With --files: only this file, or what lies under this folder.")] = "",
    type: Annotated[str, typer.Option(help="Only collections of this type.")] = "",  # noqa: A002 - the option's name
    deleted: Annotated[bool, typer.Option("--deleted", help="With a collection: deleted versions too.")] = False,
) -> None:
    """List collections, versions or files.

    Without a name the collections of the project, with one the versions of that collection, with --files the files of a
    version.
    """
    if files and not what:
        raise InvalidArgument("--files needs a version, such as digits:best", field="what")
    if files:
        _list_files(call, what, path)
    elif what:
        _list_versions(call, what, deleted=deleted)
    else:
        _list_collections(call, type)


def _list_collections(call: Call, type_: str) -> None:
    columns = {
        "NAME": lambda c: c.name,
        "TYPE": lambda c: c.type,
        "LATEST": lambda c: c.latest_version or "-",
        "VERSIONS": lambda c: f"{c.version_count:,}",
        "CREATED": lambda c: shown_when(c.create_time),
        "DESCRIPTION": lambda c: values.first_line(c.description),
    }
    call.out.table(
        _collections(call, type_), values.collection_json, columns, empty="no collections here yet; `put` logs the first"
    )


def _collections(call: Call, type_: str) -> Iterator[Collection]:
    try:
        yield from call.api.collections(type=type_)
    except ProjectNotFound:
        if call.api.default_project != DEFAULT_PROJECT:
            raise  # somebody named it, so it may be a slip of the pen; the default one is only not made yet


def _list_versions(call: Call, name: str, *, deleted: bool) -> None:
    columns = {
        "NAME": lambda v: v.name,
        "ALIASES": lambda v: ", ".join(v.aliases),
        "TAGS": lambda v: ", ".join(v.tags),
        "FILES": lambda v: f"{v.entry_count:,}",
        "SIZE": lambda v: size(v.stored_bytes),
        "CREATED": lambda v: shown_when(v.create_time),
        "DESCRIPTION": lambda v: f"[{v.state.lower()}]" if v.tombstone else values.first_line(v.description),
    }
    found = call.api.versions(name, show_deleted=deleted)
    call.out.table(found, values.version_json, columns, empty=f"{name} has no versions")


def _list_files(call: Call, address: str, path: str) -> None:
    columns = {
        "SIZE": lambda f: "?" if f.size_bytes is None else size(f.size_bytes),
        "DIGEST": lambda f: str(f.digest)[:19],
        "PATH": lambda f: f.path + ("*" if f.executable else ""),
    }
    call.out.table(call.api.artifact(address).files(path), values.file_json, columns, empty="no such files")
