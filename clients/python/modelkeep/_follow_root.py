"""The folder of a serving node: whole versions, `current`, and what the node remembers.

    root/current            a link to the version that is loaded; replaced by a rename, so it always leads to a whole version
    root/versions/v7-1a2b…  a version, under this name only when it is complete, checked and durable
    root/versions/v7-….json what it is; readers lock it
    root/follow.json        what is loaded and since when, and the newest state of the alias that was ever seen
    root/.follow.lock       who follows

However a process ends, the next one finds `current` whole, and goes on.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import socket
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from modelkeep._copy import sync_folder
from modelkeep._folder import is_everybodys
from modelkeep.errors import DiskFull, InvalidArgument, TargetUnusable
from modelkeep.names import AliasName

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO, TextIO

CURRENT: Final = "current"
STATE: Final = "follow.json"
LOCK: Final = ".follow.lock"
VERSIONS: Final = "versions"
_INCOMING: Final = ".incoming-"
_REMOVED: Final = ".removed-"
_WRITING: Final = ".writing-"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_locks: Final[WeakSet[TextIO]] = WeakSet()
"""What this process holds."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version in the folder."""

    folder: str
    """Its name under `versions`."""
    name: str
    """`digits:v7`."""
    resource_name: str
    uid: str
    digest: str
    alias: str
    """The resource name of the alias that pointed to it."""
    seq: int
    """The number of that alias then."""
    since: str
    """When it was loaded, in RFC 3339."""

    @property
    def version(self) -> str:
        """`v7`."""
        return self.name.rpartition(":")[2]


class FollowRoot:
    """The folder, for the one process that may change it."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Take the folder, and make it if it is missing. Raises TargetUnusable, which says who else has it."""
        self.path = Path(os.path.abspath(root))
        if is_everybodys(self.path):
            message = f"{self.path} is not for versions alone, which would come and go in it; choose another folder"
            raise TargetUnusable(message, path=str(self.path))
        try:
            (self.path / VERSIONS).mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / LOCK).open("a+", encoding="utf-8")
        except OSError as error:
            raise self._unusable(error) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = self._holder()
            self._lock.close()
            message = f"{self.path} is followed into by {holder} already; stop that one, or choose another folder"
            raise TargetUnusable(message, path=str(self.path), holder=holder) from None
        _locks.add(self._lock)
        current = self.path / CURRENT
        if not _is_ours(current):
            self._lock.close()
            message = f"{current} is there and is no link of ours; move it away, or choose another folder"
            raise TargetUnusable(message, path=str(current))

    def _holder(self) -> str:
        self._lock.seek(0)
        return self._lock.read(500).strip() or "another process"

    def say(self, what: str) -> None:
        """Tell those who come later what is followed here, and by whom."""
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()} on {socket.gethostname()} ({what})")
        self._lock.flush()

    def close(self) -> None:
        """Let go of the folder."""
        if not self._lock.closed:
            with suppress(OSError):
                self._lock.truncate(0)
                fcntl.flock(self._lock, fcntl.LOCK_UN)  # children that were forked meanwhile have the file open too
            self._lock.close()

    def loaded(self) -> Loaded | None:
        """The version that `current` leads to; None when there is none that is whole."""
        try:
            folder = os.path.basename(os.readlink(self.path / CURRENT))
        except OSError:
            return None
        return self.described(folder) if self.folder(folder).is_dir() else None

    def described(self, folder: str) -> Loaded | None:
        """What a folder is said to be."""
        try:
            found = json.loads(self._description(folder).read_text(encoding="utf-8"))
            return _loaded(found, folder)
        except (OSError, ValueError, TypeError, RecursionError, InvalidArgument):
            return None

    def folder(self, name: str) -> Path:
        """Where a version is."""
        return self.path / VERSIONS / name

    def incoming(self, name: str) -> Path:
        """Where a version comes in. What another one left unfinished is removed; this one goes on from what is there."""
        wanted = self.folder(_INCOMING + name)
        for other in self._leftovers(_INCOMING):
            if other != wanted:
                shutil.rmtree(other, ignore_errors=True)
        return wanted

    def keep(self, loaded: Loaded) -> None:
        """Give a complete incoming version its name. Raises TargetUnusable, DiskFull."""
        with self._free(loaded.folder) as is_free:
            if is_free:
                self.write(self._description(loaded.folder), asdict(loaded))
        with self._guarded():
            incoming = self.folder(_INCOMING + loaded.folder)
            if incoming.exists():
                incoming.rename(self.folder(loaded.folder))
            sync_folder(self.path / VERSIONS)

    def switch(self, loaded: Loaded) -> None:
        """Let `current` lead to a version, in one step. Raises TargetUnusable where there are no symbolic links."""
        temporary = self.path / f".{CURRENT}-{secrets.token_hex(8)}"
        with self._guarded():
            try:
                temporary.symlink_to(f"{VERSIONS}/{loaded.folder}", target_is_directory=True)
            except (OSError, NotImplementedError) as error:
                message = f"{self.path} cannot hold symbolic links ({error}), which switching needs; choose another folder"
                raise TargetUnusable(message, path=str(self.path)) from None
            try:
                temporary.replace(self.path / CURRENT)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            sync_folder(self.path)

    def prune(self, keep: int) -> list[str]:
        """Remove the oldest versions, but `keep`, and what came in for nothing. What is current or somebody reads stays.

        Answers what was removed. Raises OSError.
        """
        current = os.path.basename(os.readlink(self.path / CURRENT)) if (self.path / CURRENT).is_symlink() else ""
        known = [(found.since, found.folder) for path in self._folders() if (found := self.described(path.name))]
        others = sorted((one for one in known if one[1] != current), reverse=True)
        gone = [folder for _, folder in others[max(keep - 1, 0) :] if self._remove(folder)]
        left = [
            *self._leftovers(_REMOVED, _INCOMING, _WRITING),
            *self.path.glob(f".{CURRENT}-*"),
            *self._descriptions_of_none(),
        ]
        for path in left:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        return gone

    @contextmanager
    def reading(self, folder: str) -> Iterator[bool]:
        """Keep a version from being removed meanwhile. False when it is gone already."""
        while True:
            try:
                file = self._description(folder).open("rb")
            except OSError:
                yield False
                return
            with file:
                fcntl.flock(file, fcntl.LOCK_SH)
                if not _is_at(file, self._description(folder)):
                    continue  # it was written anew, or removed, while this waited for it
                yield self.folder(folder).is_dir()
                return

    def state(self) -> dict[str, Any]:
        """What was remembered; empty when nothing was, or nothing that can be read."""
        try:
            found = json.loads((self.path / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def remember(self, state: dict[str, Any]) -> None:
        """Keep this for the next process, and for whoever looks. Raises TargetUnusable, DiskFull."""
        self.write(self.path / STATE, state)

    def write(self, path: Path, content: dict[str, Any]) -> None:
        """Write a file in one durable step. Raises TargetUnusable, DiskFull.

        One thread writes a file at a time. The name meanwhile is always the same, so the killed leave no more than one behind.
        """
        temporary = path.with_name(_WRITING + path.name)
        with self._guarded():
            try:
                with temporary.open("w", encoding="utf-8") as file:
                    json.dump(content, file, indent=2)  # of ASCII: a path need not be text
                    file.write("\n")
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            sync_folder(path.parent)

    def _folders(self) -> list[Path]:
        return [path for path in (self.path / VERSIONS).iterdir() if path.is_dir() and not path.name.startswith(".")]

    def _leftovers(self, *prefixes: str) -> list[Path]:
        return [path for path in (self.path / VERSIONS).iterdir() if path.name.startswith(prefixes)]

    def _descriptions_of_none(self) -> list[Path]:
        """What is described and never came, or has gone."""
        return [path for path in (self.path / VERSIONS).glob("[!.]*.json") if not self.folder(path.stem).is_dir()]

    def _description(self, folder: str) -> Path:
        return self.path / VERSIONS / f"{folder}.json"

    def _remove(self, folder: str) -> bool:
        """Remove a version that nobody reads: first its name, then what is in it."""
        path = self.folder(folder)
        with self._free(folder) as is_free:
            if not is_free or _is_open(path):
                return False
            removed = self.folder(f"{_REMOVED}{folder}-{secrets.token_hex(4)}")
            path.rename(removed)
            self._description(folder).unlink()
        shutil.rmtree(removed, ignore_errors=True)
        return True

    @contextmanager
    def _free(self, folder: str) -> Iterator[bool]:
        """Keep readers of a version waiting. False when one is at it: its description has to stay, as it has locked that."""
        try:
            file = self._description(folder).open("rb")
        except FileNotFoundError:
            yield True
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> TargetUnusable | DiskFull:
        """What an OSError means to the one who follows."""
        where = str(error.filename or self.path)
        if error.errno in _FULL:
            return DiskFull(f"the disk is full at {where}; free some space", path=where)
        return TargetUnusable(f"{where} cannot be written: {error.strerror or error}; choose another folder", path=where)


def _leave_to_parent() -> None:
    """A child that was forked does not follow, and may outlive the process that does."""
    for lock in list(_locks):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def now() -> str:
    """The present moment in RFC 3339."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _loaded(found: dict[str, Any], folder: str) -> Loaded:
    """What a description says. Raises ValueError or TypeError for what we did not write: disks rot, and people edit."""
    loaded = Loaded(**found)
    if not all(isinstance(value, int if name == "seq" else str) for name, value in found.items()) or loaded.folder != folder:
        raise ValueError(folder)
    AliasName.parse(loaded.alias)
    datetime.fromisoformat(loaded.since)
    return loaded


def _is_ours(current: Path) -> bool:
    """Whether nothing stands where `current` comes to be, or a link that we made."""
    try:
        folder, _, name = os.readlink(current).rpartition("/")
    except FileNotFoundError:
        return True
    except OSError:
        return False  # it is no link
    return folder == VERSIONS and name not in {"", ".", ".."}


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is the one of that name."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _is_open(folder: Path) -> bool:
    """Whether a process that we may look at has files of the folder open, mapped, or stands in it. Only Linux tells."""
    prefix = f"{folder}/"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(prefix in line for line in (process / "maps").read_text(errors="replace").splitlines()):
                return True
        with suppress(OSError):
            for link in [process / "cwd", *(process / "fd").iterdir()]:
                with suppress(OSError):
                    if f"{os.readlink(link)}/".startswith(prefix):
                        return True
    return False
