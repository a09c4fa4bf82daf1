"""Versions that the cache of this machine knows, for runs that are offline."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Self, cast

from modelkeep._cache import open_cache
from modelkeep._entries import entry_of
from modelkeep._file import File
from modelkeep._offline_content import directly_in
from modelkeep._offline_version import SHOWN_DIGITS, UNKNOWN_TEAM, Refusing, needs_server
from modelkeep._records import Records
from modelkeep._version import Version, _filter
from modelkeep.address import format_moment
from modelkeep.api.blob.v1 import blob_service_pb2 as blob_pb
from modelkeep.config import Config
from modelkeep.errors import DigestAmbiguous, NotCached, TeamNotFound
from modelkeep.names import CollectionName, ProjectName, TeamName

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike
    from pathlib import Path

    from modelkeep._cache import Cache
    from modelkeep._channel import Connection
    from modelkeep._file import Folder
    from modelkeep._offline_version import OfflineVersion
    from modelkeep._records import Record
    from modelkeep.address import Address
    from modelkeep.api.metadata.v1 import entry_pb2

_log: Final = logging.getLogger("modelkeep")

SHOWN: Final = 10
"""How many missing files a message names."""


def known_version(address: Address, text: str, recorded: OfflineVersion | None) -> Version:
    """The version at an address: what another run `recorded` offline, or what the cache knows; of an alias, the later one.

    An alias comes with a warning: where it points by now, nobody can say. Raises NotCached, DigestAmbiguous, TeamNotFound.
    """
    record = _record(address)
    if record is None and recorded is None:
        hint = "a moment of the past is known to a server only" if address.moment is not None else "fetch it once with a server"
        message = f"{text!r} was neither recorded offline here nor fetched to the cache of this machine; {hint}"
        raise NotCached(message, address=text[:200])
    if record is None or (recorded is not None and recorded.create_time > record.resolved_time):
        assert recorded is not None
        found: Version = recorded
        when = f"was recorded offline at {format_moment(recorded.create_time)}"
    else:
        found = CachedVersion.of(record)
        when = f"was told by a server at {format_moment(record.resolved_time)}"
    if address.alias:
        _log.warning("%s is %s here, as %s; where it points now, nobody can say offline", text, found.name, when)
    return found


def _record(address: Address) -> Record | None:
    """The newest that the cache knows about an address."""
    cache = open_cache()
    if cache is None or address.moment is not None:
        return None
    fitting = [record for record in Records(cache).all() if _fits(address, record)]
    teams = sorted({CollectionName.parse(record.collection).team for record in fitting})
    if len(teams) > 1:
        what, which = address.collection.collection, ", ".join(teams)
        message = f"the cache has {what!r} of the teams {which}; say which one you mean: team=… or MODELKEEP_TEAM"
        raise TeamNotFound(message, teams=which)
    digests = sorted({record.version.digest[: 2 * SHOWN_DIGITS] for record in fitting})
    if address.digest_prefix and len(digests) > 1:
        message = f"{address.digest_prefix!r} fits several versions, {', '.join(digests[:SHOWN])}; give more digits"
        raise DigestAmbiguous(message, digests=", ".join(digests[:SHOWN]))
    return fitting[0] if fitting else None


def _fits(address: Address, record: Record) -> bool:
    known, wanted = CollectionName.parse(record.collection), address.collection
    if (known.project, known.collection) != (wanted.project, wanted.collection):
        return False
    if wanted.team not in {UNKNOWN_TEAM, known.team}:
        return False
    if address.digest_prefix:
        return record.version.digest.removeprefix("sha256:").startswith(address.digest_prefix)
    return record.ref == (address.alias if address.number is None else f"v{address.number}")


class CachedConnection:
    """Stands where a connection would while a cached version is fetched: all that it may need is in the cache, or missing."""

    def __init__(self, config: Config, team: str) -> None:
        self.config = config
        self.team = team
        self.project = ProjectName(team, config.project)
        self.metadata = Refusing(needs_server)
        self.blob = Refusing(_not_cached)

    def __reduce__(self) -> tuple[object, tuple[Config, str]]:
        return CachedConnection, (self.config, self.team)

    def limits(self) -> blob_pb.Capabilities:
        """As long as nothing is asked, any will do."""
        return blob_pb.Capabilities(max_batch_chunks=1)

    def patience_seconds(self, _service: str) -> float:
        """Nobody is waited for."""
        return 0.0

    def stream(self, _service: str, method: str, *_: object, **__: object) -> Iterator[Any]:
        """What would be asked is not in the cache."""
        raise _not_cached(method)


def _not_cached(method: str) -> NotCached:
    return NotCached(f"what {method} would tell is not in the cache, and this run is offline", method=method)


class CachedVersion(Version):
    """A version as a server told it once. It is fetched from the cache, and from nowhere else."""

    __slots__ = ()

    @classmethod
    def of(cls, record: Record) -> Self:
        """The version of a record."""
        name = CollectionName.parse(record.collection)
        config = Config(record.url, "", team=name.team, project=name.project)
        connection = cast("Connection", CachedConnection(config, TeamName(name.team).team))
        return cast("Self", cls.from_pb(record.version, connection))

    def __repr__(self) -> str:
        return f"<CachedVersion {self.name} type={self.type!r} digest={self.digest[:19]}>"

    def files(self, path: str = "", **_: object) -> Iterator[File]:
        """The files, by path; only `path`, or what lies under it, if given. Raises InvalidPath, NotCached."""
        with self._manifest(open_cache(), _filter(path)) as entries:
            for message in entries:
                if message.HasField("digest"):
                    entry = entry_of(message)
                    uri = entry.reference.uri if entry.reference else ""
                    yield File(entry.path, entry.size_bytes, str(entry.digest), entry.executable, uri)

    def ls(self, folder: str = "") -> Iterator[File | Folder]:
        """The files and folders directly in `folder`, or at the root. Raises EntryNotFound, InvalidPath, NotCached."""
        return directly_in(_filter(folder), self.files(folder), self.name)

    def _fetch(self, root: str | PathLike[str] | None, path: str, **options: Any) -> Path:
        try:
            return super()._fetch(root, path, **options)
        except NotCached:
            raise self._missing(_filter(path)) from None

    def _missing(self, path: str) -> NotCached:
        """What says which files are not in the cache."""
        how = "fetch it once while its server can be reached"
        cache = open_cache()
        try:
            with self._manifest(cache, path) as entries:
                heads = (message for message in entries if message.HasField("digest") and not message.HasField("reference"))
                missing = [head.path for head in heads if cache is None or not _is_cached(cache, head)]
                count = entries.entry_count
        except NotCached:
            return NotCached(f"{self.name} is known, but its list of files is not in the cache; {how}", version=self.name)
        shown = ", ".join(missing[:SHOWN]) + (", …" if len(missing) > SHOWN else "")
        message = f"{len(missing):,} of the {count:,} files of {self.name} are not in the cache: {shown}; {how}"
        return NotCached(message, version=self.name, missing=len(missing), paths="\n".join(missing[:1000]))


def _is_cached(cache: Cache, head: entry_pb2.Entry) -> bool:
    """Whether the cache has a file: by itself, or the chunk that it lies in."""
    if not head.size_bytes:
        return True
    in_one = len(head.segments) == 1 and not head.continued
    return cache.has("objects", (head.segments[0].chunk if in_one else head.digest).sha256.hex())
