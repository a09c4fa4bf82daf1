"""The folder that a download writes to.

Nothing that lies in it can lead out of it: folders are opened one by one, relative to the one above and without following
symbolic links, and stay open while files are written (M-PATH-3). A file is written aside, in its own folder, and renamed; what
a download that was killed left aside is removed by the next one.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import unicodedata
from collections import OrderedDict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from modelkeep._traces import Traces, clear_traces, traces_in_use
from modelkeep.errors import DiskFull, TargetUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from modelkeep._traces import Trace

OPEN_FOLDERS: Final = 64
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Target:
    """A folder to write into, from one or many threads. Use it as a context manager."""

    def __init__(self, root: str | os.PathLike[str], *, make: bool = True) -> None:
        """Open the folder. With `make` it is to be written to: made if missing, and what killed downloads left is removed.

        Raises TargetUnusable.
        """
        self.path = os.path.abspath(os.fspath(root))
        self._fresh: set[str] = set()
        """Folders that were empty when they were opened here."""
        try:
            if make:
                os.makedirs(self.path, exist_ok=True)
                with os.scandir(self.path) as there:
                    self._fresh = {""} if next(there, None) is None else set()
            # The root itself may be a link: it is the caller's choice, what lies in it is not.
            self._root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if not make:  # nothing is written
                message = f"{self.path!r} cannot be read: {error.strerror or error}"
                raise TargetUnusable(message, path=self.path) from None
            raise self._unusable("", error) from None
        self._folders: OrderedDict[str, int] = OrderedDict()
        self._opening = threading.Lock()
        self._traces = Traces(self._root)
        if make and not self._fresh:
            clear_traces(self, self._root)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._traces.close()
        for descriptor in (*self._folders.values(), self._root):
            os.close(descriptor)
        self._folders.clear()

    @contextmanager
    def folder(self, path: str, *, make: bool = True) -> Iterator[int]:
        """The open folder that the entry `path` lies in, as a descriptor of one's own. Raises TargetUnusable, DiskFull."""
        with self._opening:
            descriptor = os.dup(self._folder(path.rpartition("/")[0], make=make))
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def enter(self, path: str) -> tuple[int, bool]:
        """A folder, made if missing, as a descriptor of one's own; and whether it is new. Raises TargetUnusable, DiskFull."""
        with self._opening:
            descriptor = os.dup(self._folder(path, make=True))
            return descriptor, path in self._fresh

    def _folder(self, path: str, *, make: bool) -> int:
        if not path:
            return self._root
        if path in self._folders:
            self._folders.move_to_end(path)
            return self._folders[path]
        above, _, name = path.rpartition("/")
        parent = self._folder(above, make=make)
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=parent)
                    self._fresh.add(path)
            descriptor = os.open(name, _FOLDER, dir_fd=parent)
        except OSError as error:
            raise self._unusable(path, error) from None
        self._folders[path] = descriptor
        if len(self._folders) > OPEN_FOLDERS:
            forgotten, old = self._folders.popitem(last=False)
            self._fresh.discard(forgotten)
            os.close(old)
        return descriptor

    def open_existing(self, path: str) -> int | None:
        """The regular file that is at `path` now, opened for reading; None when there is none."""
        try:
            with self.folder(path, make=False) as folder:
                descriptor = os.open(_name(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except (OSError, TargetUnusable):
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        return descriptor

    def has(self, path: str) -> bool:
        """Whether anything is at `path`."""
        try:
            with self.folder(path, make=False) as folder:
                os.stat(_name(path), dir_fd=folder, follow_symlinks=False)
        except (OSError, TargetUnusable):
            return False
        return True

    def trace(self) -> Trace:
        """A new name for temporary files, which others leave alone while this is open, and remove if it is never closed."""
        return self._traces.begin()

    def in_use(self) -> set[str]:
        """What is temporary in the folder, and of a download that is under way: this one or another."""
        return traces_in_use(self._root)

    def create(self, path: str, *, executable: bool) -> Draft:
        """Begin the file that will be at `path`. Raises TargetUnusable, DiskFull."""
        with self.folder(path) as folder:
            mode = 0o777 if executable else 0o666  # less the user's umask
            trace = self.trace()
            trace.enter(path.rpartition("/")[0])
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(trace.name, flags, mode, dir_fd=folder)
            except OSError as error:
                trace.end()
                raise self._unusable(path, error) from None
            return Draft(self, path, os.dup(folder), trace, descriptor)

    def link(self, path: str, source: int) -> None:
        """Give an open file a name here, read-only, in place of what stands there. Raises TargetUnusable, DiskFull, OSError."""
        with self.folder(path) as folder:
            os.fchmod(source, 0o444)
            trace = self.trace()
            trace.enter(path.rpartition("/")[0])
            try:
                os.link(f"/proc/self/fd/{source}", trace.name, dst_dir_fd=folder, follow_symlinks=True)
                os.rename(trace.name, _name(path), src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                with suppress(OSError):  # two names of one file: renaming one over the other does nothing
                    os.unlink(trace.name, dir_fd=folder)
                trace.end()

    def others(self, wanted: Container[str]) -> Iterator[str]:
        """What lies in the folder besides the files `wanted`: files, links and whatever else, never folders.

        Raises TargetUnusable for a folder that cannot be read: what is in it is not known.
        """

        def unreadable(error: OSError) -> None:
            raise self._unusable(os.path.relpath(error.filename, self.path), error)

        for where, folders, files in os.walk(self.path, onerror=unreadable):
            prefix = os.path.relpath(where, self.path)
            prefix = "" if prefix == "." else prefix + "/"
            links = [name for name in folders if os.path.islink(os.path.join(where, name))]
            yield from (prefix + name for name in (*files, *links) if prefix + name not in wanted)

    def remove(self, path: str) -> None:
        """Remove a file or a link, unless it is gone already. Raises TargetUnusable."""
        try:
            with self.folder(path, make=False) as folder, suppress(FileNotFoundError):
                os.unlink(_name(path), dir_fd=folder)
        except OSError as error:
            raise self._unusable(path, error) from None

    def remove_empty_folders(self, keep: Container[str]) -> None:
        """Remove all folders that have nothing in them, besides those to keep."""
        for where, _, _ in os.walk(self.path, topdown=False):
            path = os.path.relpath(where, self.path)
            if path == "." or path in keep:
                continue
            with self._opening:
                self._close_folder(path)
            with suppress(OSError, TargetUnusable), self.folder(path, make=False) as above:
                os.rmdir(_name(path), dir_fd=above)  # refused while something is in it

    def _close_folder(self, path: str) -> None:
        self._fresh.discard(path)
        descriptor = self._folders.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)

    def sync(self) -> None:
        """Make all that was written durable, with one call. Raises DiskFull, TargetUnusable."""
        try:
            sync_file_system(self._root)
        except OSError as error:
            raise self._unusable("", error) from None

    def folding(self) -> Callable[[str], str] | None:
        """What two names must differ in to be two files here; None where they need only differ.

        Some file systems know no case, some no Unicode forms: the folder itself is asked (SEM-7).
        """
        trace = self._traces.begin("å")
        trace.enter("")
        name = trace.name
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._root))
        except OSError as error:
            raise self._unusable("", error) from None
        try:
            no_case = self.has(name.upper())
            no_forms = self.has(unicodedata.normalize("NFD", name))
        finally:
            os.unlink(name, dir_fd=self._root)
            trace.end()
        return fold(no_case=no_case, no_forms=no_forms)

    def unusable(self, path: str, error: OSError) -> TargetUnusable | DiskFull:
        """What an OSError at `path` means to the one who downloads."""
        return self._unusable(path, error)

    def _unusable(self, path: str, error: OSError) -> TargetUnusable | DiskFull:
        where = os.path.join(self.path, path) if path else self.path
        if error.errno in _FULL:
            return DiskFull(f"the disk is full at {where!r}; free some space and download again", path=where)
        if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}:
            why = "a symbolic link or a file stands where a folder has to be, or a folder where a file has to be"
            return TargetUnusable(f"{where!r} cannot be written: {why}; remove it, or choose another folder", path=where)
        return TargetUnusable(f"{where!r} cannot be written: {error.strerror or error}", path=where)


class Draft:
    """A file that is being written beside its final name."""

    def __init__(self, target: Target, path: str, folder: int, trace: Trace, descriptor: int) -> None:
        self._target = target
        self._folder = folder
        self._trace = trace
        self._open = True
        self.path = path
        self.descriptor = descriptor

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write bytes at their place. Raises DiskFull, TargetUnusable."""
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self.descriptor, view, offset)
                view, offset = view[written:], offset + written
        except OSError as error:
            raise self._target.unusable(self.path, error) from None

    def keep(self, *, durable: bool) -> None:
        """Give the file its final name, in place of what stands there. Raises DiskFull, TargetUnusable."""
        try:
            if durable:
                os.fsync(self.descriptor)
            os.rename(self._trace.name, _name(self.path), src_dir_fd=self._folder, dst_dir_fd=self._folder)
            if durable:
                os.fsync(self._folder)
        except OSError as error:
            self.discard()
            raise self._target.unusable(self.path, error) from None
        self._close()

    def discard(self) -> None:
        """Leave nothing of it, unless it was kept."""
        if self._open:
            with suppress(OSError):
                os.unlink(self._trace.name, dir_fd=self._folder)
            self._close()

    def _close(self) -> None:
        self._open = False
        os.close(self.descriptor)
        os.close(self._folder)
        self._trace.end()


def sync_file_system(descriptor: int) -> None:
    """Make all that was written to the file system of an open folder durable. Raises OSError."""
    import ctypes  # noqa: PLC0415 - only who downloads, or records offline, needs it

    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        os.sync()
        return
    if syncfs(descriptor):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def fold(*, no_case: bool, no_forms: bool) -> Callable[[str], str] | None:
    """How names are compared where case, or Unicode forms, make no difference."""
    if not no_case and not no_forms:
        return None

    def folded(name: str) -> str:
        name = unicodedata.normalize("NFD", name) if no_forms else name
        return name.casefold() if no_case else name

    return folded


def _name(path: str) -> str:
    return path.rpartition("/")[2]
