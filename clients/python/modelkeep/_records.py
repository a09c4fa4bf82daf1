"""What names stood for when they were last asked for: so that a version that is here can be found without a server."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from modelkeep._cache import seal, unseal
from modelkeep._intake import Intake
from modelkeep.api.metadata.v1 import version_pb2
from modelkeep.names import CollectionName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelkeep._cache import Cache
    from modelkeep.address import Address
    from modelkeep.names import VersionName

MOST_BYTES: Final = 4 << 20
"""A version has at most a MiB of metadata, and some words more."""


class Record(NamedTuple):
    """What a name stood for."""

    collection: str
    """`teams/{team}/projects/{project}/collections/{collection}`."""
    ref: str
    """`v3`, or an alias."""
    url: str
    """The server that said so."""
    version: version_pb2.Version
    resolved_time: datetime


class Resolved(NamedTuple):
    """How a version was found."""

    ref: str
    """`v3`, or an alias that points to it now; empty when it was found by its digest, or as of a moment."""
    message: bytes
    """The answer of the server."""

    @classmethod
    def by(cls, address: Address, version: version_pb2.Version) -> Resolved:
        """The answer to a question by address."""
        return cls("" if address.moment is not None else address.alias, version.SerializeToString())


def remember(cache: Cache, name: VersionName, found: Resolved, url: str) -> None:
    """Remember under which names a version was found, which is in the cache now."""
    refs = [f"v{name.number}", found.ref] if found.ref else [f"v{name.number}"]
    version = version_pb2.Version.FromString(found.message)
    Records(cache).put(CollectionName(name.team, name.project, name.collection), refs, version, url)


class Records:
    """The records in a cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def put(self, collection: CollectionName, refs: Iterable[str], version: version_pb2.Version, url: str = "") -> None:
        """Remember what refs stand for at a server; where that cannot be written, it is not remembered."""
        with Intake(self._cache) as intake:
            for ref in refs:
                values = {"collection": str(collection), "ref": ref, "url": url, "time": datetime.now(UTC).isoformat()}
                name = _name(str(collection), ref, url)
                intake.replace("records", name, seal(name, json.dumps(values).encode() + b"\n" + version.SerializeToString()))

    def get(self, collection: CollectionName, ref: str, url: str = "") -> Record | None:
        """What a ref stood for at a server; or, if `url` is empty, what the server said that was asked last."""
        if url:
            return self._read(_name(str(collection), ref, url))
        return next((record for record in self.all() if record.collection == str(collection) and record.ref == ref), None)

    def all(self) -> list[Record]:
        """All that is known, the newest first."""
        found = [self._read(entry.name) for entry in self._cache.entries("records")]
        return sorted((record for record in found if record), key=lambda record: record.resolved_time, reverse=True)

    def _read(self, name: str) -> Record | None:
        data = self._cache.read("records", name, MOST_BYTES)
        if data is None:
            return None
        body = unseal(name, data)
        if body is None:
            self._cache.drop("records", name)
            return None
        head, _, message = body.partition(b"\n")
        values: dict[str, Any] = json.loads(head)
        version = version_pb2.Version.FromString(message)
        return Record(values["collection"], values["ref"], values["url"], version, datetime.fromisoformat(values["time"]))


def _name(collection: str, ref: str, url: str) -> str:
    return hashlib.sha256(f"{collection}\0{ref}\0{url}".encode()).hexdigest()
