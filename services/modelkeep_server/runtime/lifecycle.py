"""How a process starts and ends: who holds a data folder, and when it is time to go."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Self

NETWORK_FILE_SYSTEMS: Final = frozenset(
    [
        "nfs",
        "nfs3",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "afs",
        "ceph",
        "fuse.ceph",
        "glusterfs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "fuse.s3fs",
        "fuse.gcsfuse",
        "lustre",
        "beegfs",
        "gpfs",
        "ocfs2",
        "gfs2",
        "davfs",
        "fuse.davfs2",
        "fuse.rclone",
    ]
)


class CannotStart(Exception):
    """A server cannot start; the message says why and what to do."""


class FolderLock:
    """Says that one process runs a service on a data folder. The kernel lets go of it however the process ends."""

    def __init__(self, folder: Path, service: str) -> None:
        """Take it. Raises CannotStart, naming the holder, when another process has it."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = (folder / f"{service}.lock").open("a+", encoding="utf-8")
        except OSError as error:
            message = f"the data folder {folder} cannot be used: {error.strerror}; choose another one with --data"
            raise CannotStart(message) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(self._file.name)
            self._file.close()
            message = (
                f"{folder.absolute()} is in use: {holder} runs {service} on it. Use that one, or another folder with --data"
            )
            raise CannotStart(message) from None
        self.say("")

    def say(self, url: str) -> None:
        """Tell those who come later where to reach this process."""
        self._file.truncate(0)
        self._file.write(json.dumps({"pid": os.getpid(), "url": url}))
        self._file.flush()

    def release(self) -> None:
        """Let go of it."""
        self._file.truncate(0)
        fcntl.flock(self._file, fcntl.LOCK_UN)  # children that were forked meanwhile have the file open too
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()


def is_locked(folder: Path, service: str) -> bool:
    """Whether a living process runs the service on the folder."""
    try:
        with (folder / f"{service}.lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _holder(path: str) -> str:
    try:
        holder = json.loads(Path(path).read_text(encoding="utf-8"))
        return f"process {holder['pid']}" + (f" at {holder['url']}" if holder["url"] else "")
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def refuse_network_file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Raises CannotStart when SQLite's file would lie where its locks do not hold."""
    kind = _file_system(path.absolute(), mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        message = (
            f"{path} is on a network file system ({kind}), where SQLite loses data; choose a local disk with --data, "
            "or a PostgreSQL database with database_url"
        )
        raise CannotStart(message)


def _file_system(path: Path, mounts: Path) -> str:
    """The type of the file system that `path` is or would be on; empty where the system does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = ("", "")
    resolved = str(path.resolve())
    for line in lines:
        _device, point, kind, *_rest = line.split(" ")
        point = point.replace("\\040", " ")
        inside = resolved == point or resolved.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found[0]):  # the later of two mounts on one point hides the earlier
            found = (point, kind)
    return found[1]


@asynccontextmanager
async def told_to_stop() -> AsyncIterator[asyncio.Event]:
    """SIGTERM and SIGINT, while the `async with` block runs. One that comes later, as the server drains, ends it as usual."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in signals:
            with suppress(ValueError):
                loop.remove_signal_handler(number)
