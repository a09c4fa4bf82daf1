"""What a run tells about where and how it runs, and how to switch that off."""

from __future__ import annotations

import getpass
import os
import platform
import socket
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from modelkeep.api.lineage.v1 import run_pb2
from modelkeep.errors import InvalidArgument
from modelkeep.names import shown

if TYPE_CHECKING:
    from collections.abc import Collection

    from modelkeep._redact import Redactor

ITEMS: Final = ("git", "diff", "script", "arguments", "packages", "host", "user", "platform")
"""All that can be captured: remote, commit and branch; changes that no commit has; script or notebook; command line; installed
packages; name of the machine; name of the user; operating system and version of Python."""
CODE: Final = frozenset({"diff", "script"})
"""What is kept as a version of type `code`."""
MAX_ARGUMENTS: Final = 1000
MAX_ARGUMENT_BYTES: Final = 64 * 1024


def chosen(capture: str | Iterable[str] | None, save_code: bool | None) -> frozenset[str]:
    """The items to capture: as said, else as MODELKEEP_CAPTURE and MODELKEEP_SAVE_CODE say, else all.

    Raises InvalidArgument.
    """
    given = os.environ.get("MODELKEEP_CAPTURE", "all") if capture is None else capture
    names = [name for name in _texts(given.split(",") if isinstance(given, str) else given) if name]
    items = _items(names) if names or isinstance(given, str) else frozenset[str]()  # a list with nothing in it is a choice too
    if save_code is None:
        save_code = _yes_or_no(os.environ.get("MODELKEEP_SAVE_CODE", ""))
    return items if save_code else items - CODE


def _texts(given: Iterable[str]) -> list[str]:
    """Raises InvalidArgument."""
    names = list(given) if isinstance(given, Iterable) else [given]
    for name in names:
        if not isinstance(name, str):
            message = f"{shown(name)} is nothing that a run captures; expected a text, or a list of texts"
            raise InvalidArgument(message, field="capture")
    return [name.strip() for name in names]


def _items(names: Collection[str]) -> frozenset[str]:
    taken = {name for name in names if not name.startswith("-")}
    for name in names:
        if name.removeprefix("-") not in ITEMS and name not in {"all", "none"}:
            message = (
                f"{name[:100]!r} is nothing that a run captures; name some of {', '.join(ITEMS)}, or all, or none; with a '-'"
                " before it one is left out"
            )
            raise InvalidArgument(message, field="capture", value=name[:100])
    items = set(ITEMS) if "all" in taken or not taken - {"none"} else taken
    if "none" in taken:
        items = taken
    return frozenset(items.intersection(ITEMS) - {name.removeprefix("-") for name in names if name.startswith("-")})


def _yes_or_no(text: str) -> bool:
    if text.lower() in {"", "1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    message = f"MODELKEEP_SAVE_CODE is {text[:100]!r}; expected true or false"
    raise InvalidArgument(message, field="MODELKEEP_SAVE_CODE", value=text[:100])


def environment(items: frozenset[str]) -> run_pb2.Environment:
    """Where this process runs, as far as that takes no time to tell."""
    told = run_pb2.Environment()
    if "host" in items:
        told.host = socket.gethostname()
    if "user" in items:
        told.user = _user()
    if "platform" in items:
        told.operating_system, told.python_version = _operating_system(), platform.python_version()
    return told


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without an entry for its user
        return str(os.getuid()) if hasattr(os, "getuid") else ""


def _operating_system() -> str:
    kernel = " ".join(filter(None, (platform.system(), platform.release())))
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return kernel
    return f"{name} ({kernel})" if name else kernel


def arguments(redactor: Redactor) -> list[str]:
    """The command line behind the name of the script, without secrets, and only the beginning of one that goes on and on."""
    kept: list[str] = []
    left = MAX_ARGUMENT_BYTES
    for argument in redactor.arguments(sys.argv[1:]):
        text = argument.encode(errors="replace").decode(errors="replace")
        left -= len(text.encode())
        if left < 0 or len(kept) == MAX_ARGUMENTS:
            return [*kept, "…"]
        kept.append(text)
    return kept


def packages() -> list[str]:
    """The installed packages, as `name==version`, sorted."""
    from importlib.metadata import distributions  # noqa: PLC0415 - it is asked for in the background

    found = set()
    for distribution in distributions():
        about = distribution.metadata
        name, version = about["Name"], about["Version"]
        if name and version:
            found.add(f"{name}=={version}")
    return sorted(found, key=str.lower)
