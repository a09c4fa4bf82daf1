"""Versions as a file system for fsspec: `modelkeep://[team/]project/name:alias/path`. It can only be read.

An alias is resolved when it is first used, and what it stood for is kept while somebody goes on using it: all files of a table
come from one version, whatever is logged meanwhile. A little while after the last use the server is asked again, and after
some minutes of use too: who never stops reading is to see the alias move.
"""

from __future__ import annotations

import errno
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]

from modelkeep._wire import pages
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import InvalidAddress, InvalidPath, NotFound
from modelkeep.manifest import parse_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from modelkeep._api import Api
    from modelkeep._version import Version

PIN_SECONDS: Final = 10.0
"""How long after its last use an alias is not asked for again."""
MOST_PIN_SECONDS: Final = 300.0
"""How long after it was asked for an alias is asked for again, however often it is used."""
_READ_ONLY: Final = "versions never change: log a new one with modelkeep.Artifact, and read it here"


@dataclass(slots=True)
class _Pin:
    """What an address stands for, once its lock was held."""

    version: Version | None = None
    asked: float = 0.0
    used: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class ModelkeepFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Reads versions. `url`, `api_key`, `team` and `project` are as for `modelkeep.Api`."""

    protocol: ClassVar[str] = "modelkeep"
    root_marker: ClassVar[str] = ""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        team: str | None = None,
        project: str | None = None,
        *,
        pin_seconds: float = PIN_SECONDS,
        most_pin_seconds: float = MOST_PIN_SECONDS,
        **options: Any,
    ) -> None:
        """`pin_seconds` is how long after its last use an alias is not asked for again.

        `most_pin_seconds` is how long it is not, however often it is used; not less than `pin_seconds`. A file that is open
        stays what it is.
        """
        super().__init__(url=url, api_key=api_key, team=team, project=project, **options)
        self._settings: dict[str, Any] = {"url": url, "api_key": api_key, "team": team, "project": project}
        self._pin_seconds = pin_seconds
        self._most_pin_seconds = max(most_pin_seconds, pin_seconds)
        self._pins: dict[str, _Pin] = {}
        self._pinning = threading.Lock()

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What lies right in a folder, or the file itself. Raises FileNotFoundError."""
        address, inside = _cut(self._strip_protocol(path))
        version = self._version(address)
        found = list(self._listed(version, address, inside))
        if not found and inside:
            found = [self._file_info(version, address, inside)]
        found.sort(key=lambda info: str(info["name"]))
        return found if detail else [info["name"] for info in found]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """What is known of a file or folder. Raises FileNotFoundError."""
        address, inside = _cut(self._strip_protocol(path))
        version = self._version(address)
        if not inside:
            return _folder(version, address, "")
        first = next(self._entries(version, inside), None)
        if first is None:
            raise FileNotFoundError(path)
        return self._entry_info(version, address, first) if first.path == inside else _folder(version, address, inside)

    def created(self, path: str) -> datetime:
        """When the version was committed. Raises FileNotFoundError."""
        moment: datetime = self.info(path)["created"]
        return moment

    modified = created

    def checksum(self, path: str) -> int:
        """A number that stands for the content."""
        return int(str(self.info(path)["digest"]).rpartition(":")[2][:16], 16)

    def ukey(self, path: str) -> str:
        """The digest of the content."""
        return str(self.info(path)["digest"])

    def invalidate_cache(self, path: str | None = None) -> None:
        """Ask the server again what aliases stand for."""
        del path
        with self._pinning:
            self._pins.clear()

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if mode != "rb":
            raise _read_only()
        address, inside = _cut(path)
        if not inside:
            raise IsADirectoryError(path)
        version = self._version(address)
        try:
            return version.open(inside)
        except NotFound as error:
            first = next(self._entries(version, inside), None)
            if first is not None and first.path != inside:
                raise IsADirectoryError(path) from None
            raise FileNotFoundError(str(error)) from error

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The bytes of a file, or from `start` to before `end`; negative ones count from its end."""
        with self._open(self._strip_protocol(path)) as file:
            size = file.seek(0, 2)
            begin, stop = (min(max(at + size if at < 0 else at, 0), size) for at in (start or 0, size if end is None else end))
            file.seek(begin)
            return bytes(file.read(max(stop - begin, 0)))

    def _version(self, address: str) -> Version:
        with self._pinning:
            pin = self._pins.setdefault(address, _Pin())
        with pin.lock:  # each its own: while the server is asked about one, the others are read
            now = time.monotonic()
            is_old = now - pin.used > self._pin_seconds or now - pin.asked > self._most_pin_seconds
            if pin.version is None or is_old:
                pin.version, pin.asked = self._ask(address), now
            pin.used = now
            return pin.version

    def _ask(self, address: str) -> Version:
        try:
            # fsspec keeps one instance, whatever becomes of the settings; connections are shared.
            return _api(self._settings).artifact(address)
        except NotFound as error:
            raise FileNotFoundError(str(error)) from error

    def _listed(self, version: Version, address: str, inside: str) -> Iterator[dict[str, Any]]:
        request = pb.ListEntriesRequest(parent=version.resource_name, prefix=inside, page_size=1000, by_folder=True)
        list_entries = version._connection.metadata.ListEntries  # noqa: SLF001 - its other half

        def both(page: pb.ListEntriesResponse) -> list[Any]:
            return [*page.entries, *page.folders]

        for found in pages(list_entries, request, both):
            yield _folder(version, address, found) if isinstance(found, str) else self._entry_info(version, address, found)

    def _entries(self, version: Version, inside: str) -> Iterator[Any]:
        request = pb.ListEntriesRequest(parent=version.resource_name, prefix=inside, page_size=1)
        yield from version._connection.metadata.ListEntries(request).entries  # noqa: SLF001 - its other half

    def _file_info(self, version: Version, address: str, inside: str) -> dict[str, Any]:
        first = next(self._entries(version, inside), None)
        if first is None:
            raise FileNotFoundError(f"{address}/{inside}")
        return self._entry_info(version, address, first)

    def _entry_info(self, version: Version, address: str, entry: Any) -> dict[str, Any]:
        return {
            "name": f"{address}/{entry.path}",
            "size": None if entry.HasField("reference") and entry.size_bytes < 0 else entry.size_bytes,
            "type": "file",
            "digest": f"sha256:{entry.digest.sha256.hex()}",
            "executable": entry.executable,
            **_words(version),
        }


def _folder(version: Version, address: str, inside: str) -> dict[str, Any]:
    name = f"{address}/{inside}" if inside else address
    return {"name": name, "size": 0, "type": "directory", "digest": version.digest, **_words(version)}


def _words(version: Version) -> dict[str, Any]:
    """What all that is in a version has of it."""
    return {"version": version.name, "created": version.create_time, "mtime": version.create_time}


def _cut(path: str) -> tuple[str, str]:
    """The address of the version, and the path in it. Raises InvalidAddress; FileNotFoundError for what no version can have."""
    parts = path.strip("/").split("/")
    for index, part in enumerate(parts[:3]):
        if ":" in part or "@" in part:
            return "/".join(parts[: index + 1]), _inside("/".join(parts[index + 1 :]))
    message = f"{path[:200]!r} names no version; expected modelkeep://[team/]project/name:alias/path, or :vN, or @sha256:…"
    raise InvalidAddress(message, address=path[:200])


def _inside(path: str) -> str:
    try:
        return parse_path(path) if path else ""
    except InvalidPath as error:
        raise FileNotFoundError(str(error)) from error


def _api(settings: dict[str, Any]) -> Api:
    from modelkeep._api import Api  # noqa: PLC0415 - it brings the wire in, which naming a path does not need

    return Api(**settings)


def _read_only() -> OSError:
    return OSError(errno.EROFS, _READ_ONLY)


def _refuse(self: ModelkeepFileSystem, *_: Any, **__: Any) -> Any:
    del self
    raise _read_only()


for _name in ("_rm", "rm_file", "cp_file", "mkdir", "makedirs", "rmdir", "rm", "mv", "touch", "pipe_file", "put_file"):
    setattr(ModelkeepFileSystem, _name, _refuse)
