"""What lies in an offline folder: its runs, and the versions that they recorded, by address."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from modelkeep._offline_journal import Journal
from modelkeep._offline_version import JOURNAL, OfflineVersion
from modelkeep.errors import InvalidArgument, ModelkeepError, SyncFailed
from modelkeep.names import LATEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep._offline_journal import Record
    from modelkeep.address import Address

FORMAT: Final = 1
ALIVE: Final = "alive.lock"
"""In the folder of a run: locked as long as the run's process, or a child that it forked, lives."""
LOCK: Final = "sync.lock"
"""In the folder of a run: locked by the sync that is at it."""
NOTES: Final = "sync.jsonl"
"""In the folder of a run: what of it was replayed."""
REMOVING: Final = ".removing-"
"""How the names of folders begin that are on their way out."""


def is_run(folder: str) -> bool:
    """Whether a run recorded into this folder."""
    return os.path.isfile(os.path.join(folder, JOURNAL))


def runs_in(folder: str, *, deep: bool = False) -> list[str]:
    """The folders of runs: this one, or those right in it; with `deep`, wherever they are under it."""
    if is_run(folder):
        return [folder]
    inside = folders_in(folder, deep=deep)
    return [path for path in inside if is_run(path) and not os.path.basename(path).startswith(REMOVING)]


def folders_in(folder: str, *, deep: bool = False) -> Iterator[str]:
    """The folders right in this one; with `deep`, all under it, without those in runs and in hidden folders."""
    for where, folders, _ in os.walk(folder):
        paths = {name: os.path.join(where, name) for name in folders}
        yield from paths.values()
        folders[:] = [name for name in folders if deep and not name.startswith(".") and not is_run(paths[name])]


def time_of(folder: str) -> str:
    """When the run in a folder began, as a text that sorts by time; its name where that cannot be read."""
    try:
        return str(head_of(Journal(os.path.join(folder, JOURNAL)).read(), folder).values["time"])
    except ModelkeepError:
        return os.path.basename(folder)


def head_of(journal: Iterator[Record], folder: str) -> Record:
    """The first record of a run, which says what it is. Raises SyncFailed."""
    head = next(journal, None)
    if head is None or head.kind != "run" or head.values.get("format") != FORMAT:
        why = "was begun and never recorded what it is" if head is None else "was recorded by another version of modelkeep"
        raise SyncFailed(f"the run in {folder!r} {why}", step="read", path=folder, record=0)
    for name in ("time", "run", "name", "team", "project"):
        if not isinstance(head.values.get(name), str):
            raise SyncFailed(f"the run in {folder!r} does not say its {name}", step="read", path=folder, record=0)
    return head


def find(address: Address, above: str, own: str) -> OfflineVersion | None:
    """The version that was recorded under an address: by the run in `own`, else by the newest of the other runs beside it.

    Numbers are not known offline, and what an alias was at some moment is known to nobody here.
    """
    if address.number is not None or address.moment is not None:
        return None
    mine = _last(address, own)
    if mine is not None:
        return mine
    found = [version for run in runs_in(above) if run != own for version in [_last(address, run)] if version is not None]
    return max(found, key=lambda version: version.create_time, default=None)


def _last(address: Address, folder: str) -> OfflineVersion | None:
    records = Journal(os.path.join(folder, JOURNAL)).read()
    last: Record | None = None
    try:
        head = head_of(records, folder)
        if not _is_in(address, head):
            return None
        for record in records:
            if record.kind == "log" and _fits(address, record):
                last = record
    except SyncFailed:
        if last is None:
            return None  # sync tells; what a damaged journal holds is found as far as it can be read
    return OfflineVersion.of(folder, head, last) if last is not None else None


def _is_in(address: Address, head: Record) -> bool:
    team, project = address.collection.team, address.collection.project
    return head.values["project"] == project and head.values["team"] in {"", team}


def _fits(address: Address, record: Record) -> bool:
    values = record.values
    if values["collection"] != address.collection.collection:
        return False
    if address.digest_prefix:
        return str(values["digest"]).removeprefix("sha256:").startswith(address.digest_prefix)
    return address.alias == LATEST or address.alias in values["aliases"]


def require_folder(folder: str) -> None:
    """Raise InvalidArgument unless the folder exists."""
    if not os.path.isdir(folder):
        raise InvalidArgument(f"{folder!r} is no folder; give one that a run recorded into", field="dir", value=folder[:200])
