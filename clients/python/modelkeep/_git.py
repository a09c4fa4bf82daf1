"""What git knows about a folder: asked quickly, without network, monitors, diff drivers and text converters.

Filters that a repository configures (`filter.*.clean`, as of Git LFS) run: without them git does not know what changed.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from itertools import chain
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_log: Final = logging.getLogger("modelkeep")

ASK_SECONDS: Final = 5.0
"""How long git may take to say where it stands."""
DIFF_SECONDS: Final = 20.0
"""How long git may take to say what changed."""
MAX_DIFF_BYTES: Final = 4 << 20
"""How much of the changes is kept."""

_OPTIONS: Final = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "-c", "core.pager=cat", "-c", "color.ui=false")
_DIFF: Final = ("--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short", "--ignore-submodules=dirty")
_ENVIRONMENT: Final = {
    "GIT_OPTIONAL_LOCKS": "0",  # nothing is written, also not an index that is refreshed
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "",  # a partial clone would fetch what it lacks
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_EXTERNAL_DIFF": "",
    "LC_ALL": "C",
}


@dataclass(frozen=True)
class Repository:
    """A work tree, and where it stands."""

    root: str
    remote: str = ""
    """The address of its remote, as configured."""
    commit: str = ""
    """Empty before the first commit."""
    branch: str = ""
    """Empty when none is checked out."""
    is_dirty: bool = False
    """Whether files that git tracks differ from the commit, or may: git did not say."""


@dataclass(frozen=True)
class Diff:
    """Changes that no commit has, as a patch."""

    text: str
    is_cut: bool = False
    """Whether there was more than is kept, or git took too long."""


def find(folder: str) -> Repository | None:
    """The repository that a folder lies in; None when there is none, or no git, or git does not answer in time."""
    root = _ask(folder, "rev-parse", "--show-toplevel")
    if not root:
        return None
    root = root.rstrip("\n")
    status = _ask(root, "status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules=untracked", "-z")
    if status is None:  # it has so many files, or changes, that nobody waits for it
        _log.warning("git did not say what changed in %s within %g s, so it counts as changed", root, ASK_SECONDS)
        commit = (_ask(root, "rev-parse", "--verify", "--quiet", "HEAD") or "").strip()
        branch = (_ask(root, "symbolic-ref", "--short", "--quiet", "HEAD") or "").strip()
        return Repository(root, _remote(root), commit, branch, is_dirty=True)
    said = dict(line[2:].split(" ", 1) for line in status.split("\0") if line.startswith("# ") and " " in line[2:])
    commit, branch = said.get("branch.oid", ""), said.get("branch.head", "")
    is_dirty = any(line and not line.startswith("#") for line in status.split("\0"))
    return Repository(
        root, _remote(root), "" if commit == "(initial)" else commit, "" if branch == "(detached)" else branch, is_dirty
    )


def _remote(root: str) -> str:
    """The address of `origin`, or of the first remote that there is."""
    lines = (_ask(root, "config", "--get-regexp", r"^remote\..*\.url$") or "").splitlines()
    remotes = [line.split(" ", 1) for line in lines if " " in line]
    return next((url for name, url in remotes if name == "remote.origin.url"), remotes[0][1] if remotes else "")


def is_new(repository: Repository, path: str) -> bool:
    """Whether a file lies in the work tree that git neither tracks nor ignores."""
    return bool(_ask(repository.root, "ls-files", "--others", "--exclude-standard", "-z", "--", os.path.realpath(path)))


def diff(repository: Repository) -> Diff:
    """What differs from the commit, in files that git tracks: of a submodule its commit, and what differs from that."""
    base = "HEAD" if repository.commit else (_ask(repository.root, "hash-object", "-t", "tree", "/dev/null") or "").strip()
    changes, is_cut, end = b"", False, time.monotonic() + DIFF_SECONDS
    for path, against in chain([("", base)], ((f"{path}/", "HEAD") for path in _changed_submodules(repository.root))):
        process = _start(
            os.path.join(repository.root, path),
            "diff",
            *_DIFF,
            f"--src-prefix=a/{path}",
            f"--dst-prefix=b/{path}",
            against,
            "--",
        )
        if process is None:
            break
        data, is_cut = _read(process, max(0, end - time.monotonic()), MAX_DIFF_BYTES - len(changes))
        changes += data
        if is_cut:
            break
    text = changes.decode("utf-8", "replace")
    return Diff(text[: text.rfind("\n") + 1], is_cut=True) if is_cut else Diff(text)


def _changed_submodules(root: str, above: str = "") -> Iterator[str]:
    """The paths of submodules, and of those in them, with changes that no commit of theirs has."""
    folder = os.path.join(root, above)
    if not os.path.exists(os.path.join(folder, ".gitmodules")):
        return  # most repositories have none, and are not asked a second time
    status = _ask(folder, "status", "--porcelain=v2", "--untracked-files=no", "--ignore-submodules=untracked", "-z")
    for line in (status or "").split("\0"):
        fields = line.split(" ", 8)  # "1 XY sub modes and hashes path", where sub is "S.M." of one with changes
        if len(fields) == 9 and fields[0] == "1" and fields[2][:1] == "S" and fields[2][2:3] == "M":
            path = os.path.join(above, fields[8])
            yield path
            yield from _changed_submodules(root, path)


def _ask(folder: str, *arguments: str) -> str | None:
    """What git prints; None when it fails, or takes too long."""
    process = _start(folder, *arguments)
    if process is None:
        return None
    data, is_cut = _read(process, ASK_SECONDS, MAX_DIFF_BYTES)
    return None if is_cut or process.returncode else data.decode("utf-8", "surrogateescape")


def _start(folder: str, *arguments: str) -> subprocess.Popen[bytes] | None:
    command = ["git", *_OPTIONS, "-C", folder, *arguments]
    try:
        return subprocess.Popen(
            command,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is not meant for it
        )
    except (OSError, ValueError):
        return None


def _read(process: subprocess.Popen[bytes], timeout_seconds: float, limit: int) -> tuple[bytes, bool]:
    """At most so many bytes, for at most so long; and whether that was not all. The process is over then."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(timeout_seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        out: IO[bytes] = process.stdout  # type: ignore[assignment]
        data = out.read(limit + 1)
        if len(data) > limit:
            process.kill()
        process.wait()
        return data[:limit], late.is_set() or len(data) > limit
    finally:
        timer.cancel()
        process.stdout.close()  # type: ignore[union-attr]
