"""A version that was logged offline: its content lies in the folder of its run, and its number is not known yet."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from modelkeep import metadata as json_metadata
from modelkeep._copy import copy_and_hash, sha256_of
from modelkeep._download import check_names, with_executable
from modelkeep._entries import Spool
from modelkeep._file import File
from modelkeep._folder import Clearance, require_equal
from modelkeep._offline_content import KeptContent, damaged, directly_in
from modelkeep._offline_journal import Journal
from modelkeep._offline_store import Snapshots
from modelkeep._target import Target
from modelkeep._version import Version
from modelkeep.address import parse_moment
from modelkeep.api.metadata.v1 import entry_pb2, version_pb2
from modelkeep.digest import Digest
from modelkeep.errors import EntryNotFound, InvalidArgument, ModelkeepError, ServiceUnavailable
from modelkeep.manifest import parse_path
from modelkeep.names import CollectionName, ProjectName, RunName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelkeep._channel import Connection
    from modelkeep._content import Content
    from modelkeep._file import Folder
    from modelkeep._offline_journal import Record
    from modelkeep.manifest import Entry

JOURNAL = "journal.jsonl"
UNKNOWN_TEAM = "-"
"""Stands for the team where nobody said which: it will be that of the key that syncs."""
SHOWN_DIGITS = 12


class OfflineConnection:
    """Stands where a connection would: whatever is asked of it needs a server."""

    def __init__(self, team: str, project: str) -> None:
        self.team = team
        self.project = ProjectName(team, project)
        self.metadata = self.blob = Refusing(needs_server)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.metadata, name)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return OfflineConnection, (self.team, self.project.project)


class Refusing:
    """Refuses every call, with an error that is made from its name."""

    def __init__(self, error: Callable[[str], ModelkeepError]) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def refuse(*_: object, **__: object) -> None:
            raise self._error(name)

        return refuse


def needs_server(what: str) -> ModelkeepError:
    """What says that something cannot be done offline."""
    message = f"{what} needs a server, and this run is offline: `modelkeep sync` brings it there, then do it on the version"
    return ServiceUnavailable(message, method=what)


class OfflineVersion(Version):
    """A version as it was recorded. Its `digest` is the one that it will have; `number` and `version` are None."""

    __slots__ = ("_place", "_snapshots", "is_conditional")
    _place: tuple[str, int]
    is_conditional: bool
    """Whether it was logged only if it is better, so that a sync may make nothing of it."""
    _snapshots: Snapshots

    @classmethod
    def of(cls, folder: str, head: Record, record: Record) -> Self:
        """The version that a record of the run in `folder` stands for; `head` is the first record of that run."""
        team = head.values["team"] or UNKNOWN_TEAM
        collection = CollectionName(team, head.values["project"], record.values["collection"])
        connection = cast("Connection", OfflineConnection(team, collection.project))
        made = cast("Self", cls.from_pb(_message(collection, head, record), connection))
        for name, value in {
            "team": head.values["team"],
            "number": None,
            "resource_name": "",
            "state": "OFFLINE",
            "_place": (folder, record.number),
            "_snapshots": Snapshots(folder),
            "is_conditional": bool(record.values.get("only_if_better")),
        }.items():
            object.__setattr__(made, name, value)
        return made

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return _rebuild, self._place

    @property
    def name(self) -> str:
        """`inceptionV3@sha256:0123456789ab`: an address that finds it offline, and on a server once it is synced."""
        return f"{self.collection}@{self.digest[: len('sha256:') + SHOWN_DIGITS]}"

    @property
    def version(self) -> str:
        """None: the number is given by the server, when it is synced."""
        return cast("str", None)

    @property
    def folder(self) -> str:
        """The folder of its run."""
        return self._place[0]

    @property
    def record(self) -> int:
        """The number of the record that logged it."""
        return self._place[1]

    def __repr__(self) -> str:
        return f"<OfflineVersion {self.name} type={self.type!r}>"

    def files(self, path: str = "") -> Iterator[File]:
        """The files, by path; only `path`, or what lies under it, if given. Raises InvalidPath."""
        for entry in self._entries(path):
            yield File(entry.path, entry.size_bytes, str(entry.digest), entry.executable, "")

    def ls(self, folder: str = "") -> Iterator[File | Folder]:
        """The files and folders directly in `folder`, or at the root. Raises EntryNotFound, InvalidPath."""
        wanted = parse_path(folder.rstrip("/")) if folder else ""
        return directly_in(wanted, self.files(wanted), self.name)

    def verify(self, root: str | os.PathLike[str], *_: object, **options: object) -> None:
        """Check that the folder is what the version says, to the last byte. Raises VerificationFailed."""
        _refuse(options)
        with self._spool() as entries, Target(root, make=False) as target:
            require_equal(entries, target, self.name)

    def download(
        self, root: str | os.PathLike[str] | None = None, *, path: str = "", durable: bool = False, **options: object
    ) -> Path:
        """Write the files into the folder `root`, by default `artifacts/<name>`. Every file is checked."""
        _refuse(options)
        return self._write(root, path, durable=durable, checkout=False)

    def checkout(self, root: str | os.PathLike[str] | None = None, *, durable: bool = False, **options: object) -> Path:
        """Make the folder `root` equal to the version: as `download`, and what the version does not have is removed."""
        _refuse(options)
        return self._write(root, "", durable=durable, checkout=True)

    def record_use(self, run: str, run_display_name: str = "", alias_text: str = "") -> None:
        """Not possible: only a run that is offline too can note that it uses it."""
        del run, run_display_name, alias_text
        raise needs_server(f"noting in a run that is not offline that it uses {self.name}")

    def _write(self, root: str | os.PathLike[str] | None, path: str, *, durable: bool, checkout: bool) -> Path:
        root = Path("artifacts", self.name) if root is None else Path(root)
        if path and next(self._entries(path), None) is None:
            raise EntryNotFound(f"{self.name} has neither a file nor a folder {path!r}", path=path, version=self.name)
        with Target(root) as target, self._spool() as spool:
            folded = target.folding()
            if folded is not None:
                check_names((entry.path for entry in self._entries(path)), folded)
            clearance = Clearance(spool, target) if checkout else None
            if clearance is not None:
                clearance.clear_way()
            for entry in self._entries(path):
                if not _is_there(target, entry):
                    self._put(target, entry, durable=durable)
            target.sync()
            if clearance is not None:
                clearance.clear_rest()
        return root

    def _put(self, target: Target, entry: Entry, *, durable: bool) -> None:
        kept = self._snapshots.object(entry.digest.sha256, executable=entry.executable)
        draft = target.create(entry.path, executable=entry.executable)
        try:
            source = os.open(kept, os.O_RDONLY | os.O_CLOEXEC)
            try:
                sha256 = copy_and_hash(source, draft.descriptor, entry.size_bytes or 0)
            finally:
                os.close(source)
            if sha256 != entry.digest.sha256:
                raise damaged(kept)
            draft.keep(durable=durable)
        except FileNotFoundError:
            raise damaged(kept) from None
        except OSError as error:
            raise target.unusable(entry.path, error) from None
        finally:
            draft.discard()

    def _content(self, path: str) -> Content:
        """What `open` and `load_safetensors` read."""
        entry = next((entry for entry in self._entries(path) if entry.path == path), None)
        if entry is None:
            raise EntryNotFound(f"{self.name} has no file {path!r}", path=path, version=self.name)
        kept = self._snapshots.object(entry.digest.sha256, executable=entry.executable)
        return cast("Content", KeptContent(entry, kept))

    def _entries(self, path: str = "") -> Iterator[Entry]:
        wanted = parse_path(path.rstrip("/")) if path else ""
        for entry in self._snapshots.entries(Digest.parse(self.digest)):
            if not wanted or entry.path == wanted or entry.path.startswith(wanted + "/"):
                yield entry

    def _spool(self) -> Spool:
        spool = Spool()
        for entry in self._entries():
            message = entry_pb2.Entry(path=entry.path, size_bytes=entry.size_bytes, executable=entry.executable)
            message.digest.sha256 = entry.digest.sha256
            spool.add(message)
        return spool


def _refuse(options: dict[str, object]) -> None:
    for name, value in options.items():
        if value:
            raise InvalidArgument(f"a version that is not synced yet takes no {name}", field=name)


def _is_there(target: Target, entry: Entry) -> bool:
    descriptor = target.open_existing(entry.path)
    if descriptor is None:
        return False
    with os.fdopen(descriptor, "rb", buffering=0):
        found = os.fstat(descriptor)
        if found.st_size != entry.size_bytes or sha256_of(descriptor) != entry.digest.sha256:
            return False
        mode = with_executable(found.st_mode, executable=entry.executable)
        if mode != stat.S_IMODE(found.st_mode):
            os.fchmod(descriptor, mode)
    return True


def _message(collection: CollectionName, head: Record, record: Record) -> version_pb2.Version:
    values = record.values
    message = version_pb2.Version(
        name=str(collection.version(0)),
        state=version_pb2.VERSION_STATE_COMMITTED,
        digest=values["digest"],
        type=values["type"],
        description=values["description"],
        notes=values["notes"],
        metadata_json=json_metadata.encode(values["metadata"]),
        tags=sorted(values["tags"]),
        aliases=sorted(values["aliases"]),
        entry_count=values["entry_count"],
        stored_bytes=values["size_bytes"],
        run=str(RunName(collection.team, collection.project, head.values["run"])),
        run_display_name=head.values["name"],
    )
    message.create_time.FromDatetime(parse_moment(values["time"]))
    message.update_time.CopyFrom(message.create_time)
    return message


def _rebuild(folder: str, number: int) -> OfflineVersion:
    """The version again, in another process on this machine."""
    records = Journal(os.path.join(folder, JOURNAL)).read()
    head = next(records)
    return OfflineVersion.of(folder, head, next(record for record in records if record.number == number))
