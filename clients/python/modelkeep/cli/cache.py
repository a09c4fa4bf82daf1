"""The cache of this machine: `cache ls`, `cache trim`, `cache verify`. They need no server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelkeep import config
from modelkeep.cli.call import Call, command
from modelkeep.cli.output import counted, shown_when, size
from modelkeep.errors import FileUnreadable, InvalidArgument, VerificationFailed

if TYPE_CHECKING:
    from modelkeep._cache import Cache, Cached

KINDS = {"objects": "content", "manifests": "list of files", "records": "name"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What this machine keeps of what was fetched.", no_args_is_help=True, rich_markup_mode=None)
    command(group, "ls")(ls)
    command(group, "trim")(trim)
    command(group, "verify")(verify)
    app.add_typer(group, name="cache")


def ls(call: Call) -> None:
    """List what is in the cache, last used first."""
    cache = _cache()
    entries = sorted(cache.entries(), key=lambda entry: entry.used_ns, reverse=True)
    columns = {
        "NAME": lambda entry: entry.name[:16],
        "KIND": lambda entry: KINDS[entry.kind],
        "SIZE": lambda entry: size(entry.size_bytes),
        "USED": lambda entry: shown_when(_used(entry)),
    }
    call.out.table(entries, _json, columns, f"nothing is in {cache.folder}")
    if not call.out.as_json and entries:
        total = sum(entry.size_bytes for entry in entries)
        call.out.note(f"{_entries(len(entries))}, {size(total)} of at most {size(cache.limit_bytes)}, in {cache.folder}")


def trim(
    call: Call,
    *,
    to: Annotated[str, typer.Option(help="How much to keep: bytes, or 500MiB, 2GB, …; 0 empties it.", show_default=False)] = "",
) -> None:
    """Remove what was not used for longest, until no more than MODELKEEP_CACHE_BYTES, or `--to`, is left.

    Whoever reads meanwhile is not disturbed.
    """
    try:
        limit = config.parse_bytes(to) if to else config.cache_limit_bytes()
    except ValueError:
        raise InvalidArgument(f"{to[:50]!r} is no number of bytes, like 1048576 or 500MiB", field="to", value=to[:50]) from None
    cache = _cache()
    try:
        removed = cache.trim(limit)
    except OSError as error:
        raise FileUnreadable(f"{cache.folder} cannot be trimmed: {error.strerror}", path=str(cache.folder)) from None
    data = {"folder": str(cache.folder), "removed_count": removed.entry_count, "removed_bytes": removed.size_bytes}
    call.out.answer(data, f"{_entries(removed.entry_count)} removed, {size(removed.size_bytes)}")


def verify(call: Call) -> None:
    """Read all of the cache, and remove what is not what its name says; any of that is exit code 1."""
    cache, count, total, bad = _cache(), 0, 0, []
    for entry, good in cache.verify():
        count, total = count + 1, total + entry.size_bytes
        if not good:
            bad.append(entry)
    if bad:
        names = "\n".join(f"{KINDS[entry.kind]} {entry.name}" for entry in bad)
        call.out.note_each(names)
        message = (
            f"{len(bad):,} of {_entries(count)} of {cache.folder} were damaged, and were removed; they will be fetched again"
        )
        raise VerificationFailed(message, path=str(cache.folder), problems=names, removed=str(len(bad)))
    data = {"folder": str(cache.folder), "entry_count": count, "size_bytes": total}
    call.out.answer(data, f"{_entries(count)}, {size(total)}, all as they should be")


def _cache() -> Cache:
    """The cache, also when it is switched off: what it has may be looked at, and removed."""
    from modelkeep._cache import Cache  # noqa: PLC0415 - help needs none of it

    folder = config.cache_home()
    try:
        return Cache(folder, config.cache_limit_bytes())
    except OSError as error:
        raise FileUnreadable(f"{folder} cannot be used as a cache: {error.strerror}", path=str(folder)) from None


def _used(entry: Cached) -> datetime:
    return datetime.fromtimestamp(entry.used_ns / 1e9, UTC)


def _json(entry: Cached) -> dict[str, Any]:
    kept = {"name": entry.name, "kind": entry.kind, "size_bytes": entry.size_bytes}
    return kept | {"used_time": _used(entry)}


def _entries(count: int) -> str:
    return counted(count, "entry", "entries")
