"""A version: immutable content, and words about it that may be edited."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkeep import _lineage, _progress, _signing
from modelkeep import metadata as json_metadata
from modelkeep._cache import open_cache
from modelkeep._download import Download, manifest_of
from modelkeep._entries import Portion
from modelkeep._file import contents, file_of
from modelkeep._folder import Clearance, require_equal
from modelkeep._records import Resolved, remember
from modelkeep._target import Target
from modelkeep._wire import label, moment, moment_if_set, pages, require_text
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import version_pb2
from modelkeep.errors import EntryNotFound
from modelkeep.manifest import parse_path
from modelkeep.names import TeamName, VersionName, parse_tag

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from io import BufferedReader

    from modelkeep._cache import Cache
    from modelkeep._channel import Connection
    from modelkeep._content import Content
    from modelkeep._file import File, Folder
    from modelkeep._listing import Listing
    from modelkeep._node import Link
    from modelkeep._rule import Comparison
    from modelkeep._signature import PrivateKey, PublicKey
    from modelkeep._signing import Signature


@dataclass(frozen=True, slots=True)
class Uses:
    """Who used a version, in short."""

    run_count: int
    first_use_time: datetime | None
    last_use_time: datetime | None


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of a deleted version."""

    actor: str
    reason: str
    delete_time: datetime
    purge_time: datetime
    """Until when it can be restored."""


@dataclass(frozen=True, slots=True, repr=False)
class Version:
    """A version as it was when it was asked for. Editing answers with a new object."""

    team: str
    project: str
    collection: str
    number: int
    resource_name: str
    uid: str
    """The identity for good: it outlives a rename of the collection."""
    type: str
    state: str
    """`COMMITTED`, `DELETED` or `PURGED`."""
    digest: str
    """`sha256:<hex>` of the canonical manifest."""
    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    description: str
    notes: str
    metadata: dict[str, Any]
    entry_count: int
    stored_bytes: int
    referenced_bytes: int
    create_time: datetime
    update_time: datetime
    verified_time: datetime | None
    """When the digests of all files were proven against the stored bytes."""
    creator: str
    """The API key that committed it."""
    run: str
    """The run that first produced it; empty when there was none."""
    run_display_name: str
    uses: Uses
    tombstone: Tombstone | None
    etag: str
    deduplicated: bool = False
    """Set by logging: the content was there already."""
    ignored_fields: tuple[str, ...] = ()
    """Set by logging: what was given along and not applied, as the content was there already."""
    sent_bytes: int = 0
    """Set by logging: how many bytes the server did not have."""
    origin: str = ""
    """The version that it was copied from, by the resource name that it had then; empty when it was logged here."""
    origin_uid: str = ""
    comparison: Comparison | None = None
    """Set by logging with `only_if_better`: what was compared. Where it was not better, this is the best version."""
    _connection: Connection = field(kw_only=True, compare=False)
    _resolved: Resolved | None = field(kw_only=True, compare=False, default=None)
    """By which name it was found; a download remembers it."""

    @classmethod
    def from_pb(cls, message: version_pb2.Version, connection: Connection, **logged: Any) -> Version:
        """Read a message; `logged` is what only logging knows."""
        name = VersionName.parse(message.name)
        uses = message.uses
        return cls(
            team=name.team,
            project=name.project,
            collection=name.collection,
            number=name.number,
            resource_name=message.name,
            uid=message.uid,
            type=message.type,
            state=label(version_pb2.VersionState, message.state, "VERSION_STATE_"),
            digest=message.digest,
            aliases=tuple(message.aliases),
            tags=tuple(message.tags),
            description=message.description,
            notes=message.notes,
            metadata=json_metadata.decode(message.metadata_json),
            entry_count=message.entry_count,
            stored_bytes=message.stored_bytes,
            referenced_bytes=message.referenced_bytes,
            create_time=moment(message.create_time),
            update_time=moment(message.update_time),
            verified_time=moment_if_set(message, "verified_time"),
            creator=message.creator,
            run=message.run,
            run_display_name=message.run_display_name,
            uses=Uses(uses.run_count, moment_if_set(uses, "first_use_time"), moment_if_set(uses, "last_use_time")),
            tombstone=_tombstone(message) if message.HasField("tombstone") else None,
            etag=message.etag,
            origin=message.origin.version,
            origin_uid=message.origin.version_uid,
            _connection=connection,
            **logged,
        )

    @property
    def name(self) -> str:
        """As people write it: `inceptionV3:v0`."""
        return f"{self.collection}:{self.version}"

    @property
    def total_bytes(self) -> int:
        """Of all files: those that are stored here, before dedup, and those that references point to, as far as known."""
        return self.stored_bytes + self.referenced_bytes

    @property
    def version(self) -> str:
        """`v0`."""
        return f"v{self.number}"

    def __repr__(self) -> str:
        return f"<Version {self.name} type={self.type!r} digest={self.digest[:19]}>"

    def files(self, path: str = "") -> Iterator[File]:
        """The files, by path; only `path`, or what lies under it, if given. Raises InvalidPath."""
        request = pb.ListEntriesRequest(parent=self.resource_name, prefix=_filter(path), page_size=1000)
        return map(file_of, pages(self._connection.metadata.ListEntries, request, lambda page: page.entries))

    def ls(self, folder: str = "") -> Iterator[File | Folder]:
        """The files and folders directly in `folder`, or at the root, by path; what lies deeper is not read.

        Raises EntryNotFound when there is no such folder, InvalidPath.
        """
        request = pb.ListEntriesRequest(parent=self.resource_name, prefix=_filter(folder), page_size=1000, by_folder=True)
        found = False
        for item in pages(self._connection.metadata.ListEntries, request, contents):
            found = True
            yield item
        if folder and not found:
            raise EntryNotFound(f"{self.name} has no folder {folder!r}", path=folder, version=self.name)

    def download(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        path: str = "",
        durable: bool = False,
        link: bool = False,
        require_signature: PublicKey | Iterable[PublicKey] | None = None,
    ) -> Path:
        """Fetch the files into the folder `root`, by default `artifacts/<name>:<version>`, and answer where they are.

        Every chunk and file is checked before it gets its name. Files that are there already are kept; what else is in the
        folder is left alone. `path` fetches only that file, or what lies under that folder. One sync at the end makes all of it
        durable; `durable` syncs each file before it gets its name.

        What this machine has in its cache is not fetched. `link` makes large files links to what the cache has: they take no
        room of their own, and may only be read.

        `require_signature` are public keys, of which one must have signed the version: it is looked at before anything is
        written, and from then on nothing is taken on the server's word.

        Raises TargetUnusable, DiskFull; ChunkCorrupt, DigestMismatch, ChunkNotFound (the version is damaged); EntryNotFound;
        SignatureMissing, SignatureInvalid.
        """
        return self._fetch(root, path, durable=durable, checkout=False, link=link, keys=require_signature)

    def checkout(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        durable: bool = False,
        require_signature: PublicKey | Iterable[PublicKey] | None = None,
    ) -> Path:
        """Make the folder `root` equal to the version: as `download`, and what the version does not have is removed."""
        return self._fetch(root, "", durable=durable, checkout=True, keys=require_signature)

    def open(self, path: str) -> BufferedReader:
        """Open a file of the version for reading, without fetching it first: seekable, and every chunk of it is proven.

        Raises EntryNotFound; reading raises ChunkCorrupt, DigestMismatch, ChunkNotFound (the version is damaged).
        """
        from modelkeep._open import open_content  # noqa: PLC0415 - most who fetch a version fetch files

        return open_content(self._content(path))

    def load_safetensors(self, path: str, *, framework: str = "numpy", names: Iterable[str] | None = None) -> dict[str, Any]:
        """The tensors of a `.safetensors` file by name, straight into memory: of numpy, or of torch.

        `names` loads only those tensors, and fetches only what has them. Raises InvalidSafetensors, EntryNotFound;
        InvalidArgument for a type that the framework lacks; NotConfigured when it is not installed; and as `open` does.
        """
        from modelkeep._tensors import load  # noqa: PLC0415 - see open

        with self._content(path) as content:
            return load(content, framework, names)

    def verify(self, root: str | os.PathLike[str]) -> None:
        """Check that the folder is what the version says, to the last byte.

        Raises VerificationFailed: the metadata of the error has all differences as `problems`, one a line.
        """
        with self._manifest(open_cache()) as entries, Target(root, make=False) as target:
            require_equal(entries, target, self.name)

    def sign(self, key: PrivateKey, *, comment: str = "") -> Signature:
        """Sign the version: the path of a private key in PEM, or an Ed25519PrivateKey. Its content is not read again.

        Raises FileUnreadable, InvalidArgument, NotConfigured (the extra `sign` is not installed).
        """
        return _signing.add_signature(self._connection, self.resource_name, self.digest, key, comment)

    def signatures(self) -> Iterator[Signature]:
        """Who signed the version, oldest first. Whether they count is for you to say: `verify_signature`."""
        return _signing.signatures_of(self._connection, self.resource_name)

    def verify_signature(self, keys: PublicKey | Iterable[PublicKey]) -> Signature:
        """The signature by one of the public keys: paths of PEM files, raw bytes, or Ed25519PublicKey objects.

        It is about the digest that the server tells; `download(require_signature=…)` and `verify` hold the content to it.

        Raises SignatureMissing, which names the keys that did sign; SignatureInvalid; FileUnreadable, InvalidArgument.
        """
        return _signing.require_signature(self.signatures(), self.digest, keys, self.name)

    def edit(
        self, *, description: str | None = None, notes: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Version:
        """Change words; what is None stays. Metadata is replaced as a whole.

        Raises EtagMismatch when somebody edited the version since this object was made; InvalidMetadata.
        """
        request = pb.UpdateVersionRequest()
        request.version.name, request.version.etag = self.resource_name, self.etag
        require_text(description=description, notes=notes)
        values = {"description": description, "notes": notes}
        values["metadata_json"] = None if metadata is None else json_metadata.encode(metadata)
        for name, value in values.items():
            if value is not None:
                setattr(request.version, name, value)
                request.update_mask.paths.append(name)
        return self._again(self._connection.metadata.UpdateVersion(request))

    def tag(self, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Version:
        """Add tags, and take tags off. Raises InvalidTag."""
        request = pb.EditTagsRequest(name=self.resource_name, add=_tags(add), remove=_tags(remove))
        return self._again(self._connection.metadata.EditTags(request))

    def delete(self, *, delete_aliases: bool = False, reason: str = "") -> Version:
        """Delete the version; for a time it can be restored. Raises VersionAliased unless `delete_aliases`."""
        require_text(reason=reason)
        request = pb.DeleteVersionRequest(name=self.resource_name, delete_aliases=delete_aliases, reason=reason)
        return self._again(self._connection.metadata.DeleteVersion(request))

    def record_use(self, run: str, run_display_name: str = "", alias_text: str = "") -> None:
        """Note that a run, by its resource name, uses this version. Once per run and version, whatever is repeated."""
        request = pb.RecordUseRequest(
            version=self.resource_name,
            run=run,
            run_display_name=run_display_name,
            alias_text=alias_text,
        )
        self._connection.metadata.RecordUse(request)

    def used_by(self, job_type: Iterable[str] = ()) -> Iterator[Link]:
        """The runs that used it, newest first; only of a job type, or of several, if given. `link.node.run()` is the run."""
        return _lineage.neighbors(self._connection, self.resource_name, "down", job_type)

    def produced_by(self) -> Iterator[Link]:
        """The runs that produced it, newest first; several where the content was logged again. A copy is one, too."""
        return _lineage.neighbors(self._connection, self.resource_name, "up")

    @property
    def _version_name(self) -> VersionName:
        return VersionName(self.team, self.project, self.collection, self.number)

    def _again(self, message: version_pb2.Version) -> Version:
        return Version.from_pb(message, self._connection)

    def _content(self, path: str) -> Content:
        from modelkeep._content import Content, Layout  # noqa: PLC0415 - see open

        cache, path = open_cache(), parse_path(path)
        with self._manifest(cache, path) as entries:
            return Content(self._connection, TeamName(self.team), Layout.of(entries, path, self.name), cache)

    def _manifest(self, cache: Cache | None, prefix: str = "") -> Listing:
        return manifest_of(self._connection, self._version_name, self.digest, prefix, uid=self.uid, cache=cache)

    def _fetch(
        self,
        root: str | os.PathLike[str] | None,
        path: str,
        *,
        durable: bool,
        checkout: bool,
        link: bool = False,
        keys: PublicKey | Iterable[PublicKey] | None = None,
    ) -> Path:
        root = Path("artifacts", self.name) if root is None else root
        prefix = _filter(path)
        if keys is not None:
            self.verify_signature(keys)
        # Only the whole manifest can be held to the digest that is signed.
        cache = open_cache()
        with self._manifest(cache, prefix if keys is None else "") as listed:
            entries = listed if keys is None or not prefix else Portion(listed, prefix)
            if path and not entries.entry_count:
                message = f"{self.name} has neither a file nor a folder {path!r}"
                raise EntryNotFound(message, path=path, version=self.name)
            with Target(root) as target, _progress.bar(f"{self.name} ↓", entries.file_bytes) as advance:
                clearance = Clearance(entries, target) if checkout else None
                if clearance is not None:
                    clearance.clear_way()
                trusted = self.verified_time is not None and keys is None
                download = Download(
                    self._connection, TeamName(self.team), target, trusted=trusted, durable=durable, cache=cache, link=link
                )
                download.run(entries, advance)
                if clearance is not None:
                    clearance.clear_rest()
        if cache is not None and self._resolved is not None:
            remember(cache, self._version_name, self._resolved, self._connection.config.url)
        return Path(root)


def _filter(path: str) -> str:
    return parse_path(path.rstrip("/")) if path else ""


def _tags(tags: Iterable[str]) -> list[str]:
    return [parse_tag(tag) for tag in ([tags] if isinstance(tags, str) else tags)]


def _tombstone(message: version_pb2.Version) -> Tombstone:
    tombstone = message.tombstone
    return Tombstone(tombstone.actor, tombstone.reason, moment(tombstone.delete_time), moment(tombstone.purge_time))
