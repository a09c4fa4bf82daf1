"""Versions: `put`, `get`, `show`, `verify`, `edit`, `rm`, `restore`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelkeep.cli import values
from modelkeep.cli.call import Call, command
from modelkeep.cli.output import files, size
from modelkeep.errors import FileUnreadable, InvalidArgument, VerificationFailed

if TYPE_CHECKING:
    from modelkeep import Version

Address = Annotated[str, typer.Argument(help="[[team/]project/]name[:alias|:vN][@digest|@moment]", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.", show_default=False)]
OnlyIfBetter = Annotated[
    str,
    typer.Option(metavar="KEY:max|min", help="Only if this number of its metadata is better than in every version: acc:max."),
]
Metadata = Annotated[
    str, typer.Option(metavar="JSON|@FILE", help="A JSON object, or @ and a file that holds one; @- is stdin.")
]
Key = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="A public key (PEM); of several, one must have signed.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "put")(put)
    command(app, "copy")(copy)
    command(app, "get")(get)
    command(app, "show")(show)
    command(app, "verify")(verify)
    command(app, "edit")(edit)
    command(app, "rm")(rm)
    command(app, "restore")(restore)


def put(
    call: Call,
    *,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files and folders.", show_default=False)],
    name: Annotated[str, typer.Option(help="The collection; it is made when it is missing.", show_default=False)],
    type: Annotated[str, typer.Option(help="What kind of thing it is: model, dataset, code, …", show_default=False)],  # noqa: A002 - the option's name
    alias: Annotated[list[str] | None, typer.Option(help="An alias to move to the version; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag for the version; may be repeated.")] = None,
    metadata: Metadata = "",
    description: Annotated[str, typer.Option(help="What it is, in Markdown.")] = "",
    only_if_better: OnlyIfBetter = "",
) -> None:
    """Log files and folders as a version.

    One folder gives its content; of several paths each keeps its own name. Content that is there already makes no new version.
    """
    import modelkeep  # noqa: PLC0415 - help needs no client

    artifact = modelkeep.Artifact(name, type=type, metadata=read_metadata(metadata), description=description)
    for path in paths:
        if not path.is_dir():
            artifact.add_file(path)
        elif len(paths) == 1:
            artifact.add_dir(path)
        else:
            artifact.add_dir(path, name=path.resolve().name)
    better = read_condition(only_if_better)
    logged = call.api.log_artifact(artifact, aliases=alias or [], tags=tag or [], only_if_better=better)
    content = f"{files(logged.entry_count)}, {size(logged.stored_bytes)}"
    call.out.answer(values.logged_json(logged), values.logged_words(logged, "logged", f": {content}"))


def copy(
    call: Call,
    address: Address,
    destination: Annotated[str, typer.Argument(help="[[team/]project/]name; it is made if missing.", show_default=False)],
    *,
    alias: Annotated[list[str] | None, typer.Option(help="An alias to move to the copy; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag for the copy; may be repeated.")] = None,
) -> None:
    """Make a version with the content of another one, also of a team that you only read. No bytes move."""
    made = call.api.copy(address, destination, aliases=alias or [], tags=tag or [])
    what = "was there already" if made.deduplicated else f"copied from {made.origin}"
    call.out.answer(values.version_json(made) | {"deduplicated": made.deduplicated}, f"{made.name} {what}")


def get(
    call: Call,
    address: Address,
    *,
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Where to write; else artifacts/name:vN.")] = None,
    path: Annotated[str, typer.Option(help="Only this file, or what lies under this folder.")] = "",
    checkout: Annotated[bool, typer.Option("--checkout", help="Remove from DIR what the version does not have.")] = False,
    durable: Annotated[bool, typer.Option("--durable", help="Sync every file to disk before it gets its name.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Large files are read-only links into the cache.")] = False,
    require_signature: Annotated[bool, typer.Option("--require-signature", help="Fetch only what a --key signed.")] = False,
    key: Key = None,
) -> None:
    """Fetch a version; every byte is checked."""
    if checkout and path:
        raise InvalidArgument("--checkout makes DIR equal to the whole version, so it takes no --path", field="path")
    if checkout and link:
        raise InvalidArgument("--checkout makes files of your own, so it takes no --link", field="link")
    keys = required_keys(key, required=require_signature)
    version = call.api.artifact(address)
    if checkout:
        fetched = version.checkout(folder, durable=durable, require_signature=keys)
    else:
        fetched = version.download(folder, path=path, durable=durable, link=link, require_signature=keys)
    call.out.answer(values.version_json(version) | {"path": str(fetched)}, f"{version.name} is in {fetched}")


def show(call: Call, address: Address) -> None:
    """Show a version: what it is, who made it, who used it."""
    version = call.api.artifact(address)
    call.out.details(values.version_json(version), values.version_details(version))


def verify(
    call: Call,
    address: Address,
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="The folder to compare.", show_default=False)] = None,
    *,
    key: Key = None,
) -> None:
    """Check that a folder is what a version says, and, with keys, that one of them signed it.

    Every missing, extra and changed file is told; any of them is exit code 1, as is a missing signature. Without DIR only the
    signature is checked, and nothing is read.
    """
    if folder is None and not key:
        raise InvalidArgument("nothing to verify; give a folder, a --key, or both", field="verify")
    version = call.api.artifact(address)
    answer, lines = values.version_json(version), []
    if key:
        signature = version.verify_signature(key)
        answer["signature"] = values.signature_json(signature)
        lines.append(f"{version.name} is signed by the key {signature.key_id}: {version.digest}")
    if folder is not None:
        _compare(call, version, folder)
        answer["path"] = str(folder)
        lines.append(f"{folder} is {version.name}, file by file")
    call.out.answer(answer, *lines)


def _compare(call: Call, version: Version, folder: Path) -> None:
    try:
        version.verify(folder)
    except VerificationFailed as failed:
        call.out.note_each(failed.metadata["problems"])
        raise


def edit(
    call: Call,
    address: Address,
    *,
    description: Annotated[str | None, typer.Option(help="What it is, in Markdown.", show_default=False)] = None,
    notes: Annotated[str | None, typer.Option(help="What was noted about it, in Markdown.", show_default=False)] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE", help="Its metadata, all of it.", show_default=False)
    ] = None,
) -> None:
    """Edit the words of a version. Its content never changes."""
    given: dict[str, Any] = {"description": description, "notes": notes}
    if metadata is not None:
        given["metadata"] = read_metadata(metadata)
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise InvalidArgument("nothing to edit; give --description, --notes or --metadata", field="edit")
    version = call.api.artifact(address).edit(**changes)
    call.out.answer(values.version_json(version), f"{version.name} edited")


def rm(
    call: Call,
    address: Address,
    *,
    delete_aliases: Annotated[bool, typer.Option("--delete-aliases", help="Delete the aliases that point to it too.")] = False,
    reason: Reason = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a version; for a time, `restore` brings it back."""
    version = call.api.artifact(address)
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidArgument(f"this would delete {version.name}; nobody can be asked here, so say --yes", field="yes")
        typer.confirm(f"Delete {version.name} ({', '.join(version.aliases) or 'no aliases'})?", abort=True, err=True)
    deleted = version.delete(delete_aliases=delete_aliases, reason=reason)
    call.out.answer(values.version_json(deleted), f"{deleted.name} deleted; `modelkeep restore {deleted.name}` brings it back")


def restore(call: Call, address: Annotated[str, typer.Argument(help="The version: name:vN.", show_default=False)]) -> None:
    """Bring a deleted version back under its number."""
    version = call.api.restore(address)
    call.out.answer(values.version_json(version), f"{version.name} restored")


def required_keys(keys: list[Path] | None, *, required: bool) -> list[Path] | None:
    """The keys of which one must have signed; None when none has to. Raises InvalidArgument."""
    if required and not keys:
        raise InvalidArgument("--require-signature needs the public keys that count; give --key", field="key")
    return keys or None


def read_condition(text: str) -> tuple[str, str] | None:
    """What `--only-if-better` says: `acc:max`. Raises InvalidArgument."""
    key, _, goal = text.rpartition(":")
    if text and (not key or goal not in {"max", "min"}):
        message = f"--only-if-better is {text!r:.100}; give a key of the metadata and max or min: acc:max"
        raise InvalidArgument(message, field="only-if-better", value=text[:100])
    return (key, goal) if text else None


def read_metadata(text: str) -> dict[str, Any]:
    """The object that `--metadata` gives: JSON, or the file after an @. Raises InvalidMetadata, FileUnreadable."""
    from modelkeep import metadata  # noqa: PLC0415 - only a command that needs it

    return metadata.decode(given_text(text, "metadata"))


def given_text(text: str, what: str) -> str:
    """What an option gives: the text itself, or that of the file after an @. Raises FileUnreadable."""
    if not text.startswith("@"):
        return text
    source = text[1:]
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise FileUnreadable(f"{source!r} cannot be read as {what}: {error.strerror or error}", path=source) from None
    except UnicodeDecodeError:
        raise FileUnreadable(f"{source!r} cannot be read as {what}: it is no text in UTF-8", path=source) from None
