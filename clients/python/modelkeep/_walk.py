"""The files under a folder that is added to an artifact: regular files, links followed inside the folder only (SEM-7)."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from modelkeep.errors import FileUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS: Final = {
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
_BROKEN: Final = "is a broken or looping symbolic link; remove it, or point it to a file"


def unreadable(path: str, error: OSError) -> FileUnreadable:
    """What an OSError on a file means to the one who logs it."""
    return FileUnreadable(f"{path!r} cannot be read: {error.strerror or error}", path=path)


def check_file(path: str) -> None:
    """Raise FileUnreadable unless `path`, or what it links to, is a regular file that may be read."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        what = _BROKEN if os.path.islink(path) else f"cannot be read: {error.strerror}"
        raise FileUnreadable(f"{path!r} {what}", path=path) from None
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        raise FileUnreadable(f"{path!r} is {kind}; only regular files can be logged", path=path)
    if not os.access(path, os.R_OK):
        raise FileUnreadable(f"{path!r} cannot be read: Permission denied", path=path)


def files_under(root: str, empty_folders: list[str]) -> Iterator[str]:
    """The paths of all files under `root`, relative to it, with `/`. Notes folders that have nothing in them.

    Raises FileUnreadable, naming the file: it, or a folder, cannot be read; it is no regular file; it is a link that is broken,
    leads out of `root`, or goes round in circles.
    """
    real_root = os.path.realpath(root)
    # Each folder comes with the folders above it, by device and inode: one that comes again below itself is a circle.
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        folder, above = waiting.pop()
        where = os.path.join(root, folder) if folder else root
        try:
            found = os.stat(where)
            with os.scandir(where) as listing:
                children = sorted(listing, key=lambda child: child.name)
        except OSError as error:
            raise unreadable(where, error) from None
        identity = (found.st_dev, found.st_ino)
        if identity in above:
            raise FileUnreadable(
                f"{where!r} is a symbolic link to a folder that it lies in; remove it, or add other folders", path=where
            )
        if not children and folder:
            empty_folders.append(folder)
        for child in children:
            path = f"{folder}/{child.name}" if folder else child.name
            if child.is_symlink():
                _check_link(child.path, real_root)
            if child.is_dir():
                waiting.append((path, above | {identity}))
            else:
                check_file(child.path)
                yield path


def _check_link(link: str, real_root: str) -> None:
    try:
        target = os.path.realpath(link, strict=True)
    except OSError:
        raise FileUnreadable(f"{link!r} {_BROKEN}", path=link) from None
    if target != real_root and not target.startswith(real_root.rstrip("/") + "/"):
        message = f"{link!r} is a symbolic link that leads out of the folder being added; add its target by itself"
        raise FileUnreadable(message, path=link)


def check_folder(path: str) -> None:
    """Raise FileUnreadable unless `path` is a folder."""
    if not os.path.isdir(path):
        what = "is no folder; use add_file" if os.path.exists(path) else "does not exist; is the path right?"
        raise FileUnreadable(f"{path!r} {what}", path=path)
