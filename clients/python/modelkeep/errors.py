"""What can go wrong: one class per reason, the same in the server, across the wire and in a user's notebook.

ModelkeepError
├── InvalidArgument
│   ├── InvalidName
│   ├── InvalidAddress
│   ├── InvalidAlias
│   ├── InvalidTag
│   ├── InvalidMetadata
│   ├── InvalidPath
│   ├── InvalidEntry
│   ├── InvalidReference
│   ├── InvalidPageToken
│   ├── InvalidFilter
│   ├── InvalidSafetensors
│   ├── DigestMismatch
│   ├── SizeMismatch
│   └── LimitExceeded
├── NotFound
│   ├── TeamNotFound
│   ├── ProjectNotFound
│   ├── CollectionNotFound
│   ├── VersionNotFound
│   ├── AliasNotFound
│   ├── DraftNotFound
│   ├── RunNotFound
│   ├── MetricNotFound
│   ├── ApiKeyNotFound
│   ├── LeaseNotFound
│   ├── ChunkNotFound
│   └── EntryNotFound
├── AlreadyExists
│   ├── ProjectExists
│   ├── CollectionExists
│   ├── CollectionTypeMismatch
│   ├── PathConflict
│   ├── DraftCommitted
│   ├── RunExists
│   ├── DigestLive
│   └── RequestIdReused
├── FailedPrecondition
│   ├── VersionDeleted
│   ├── VersionPurged
│   ├── VersionAliased
│   ├── AliasRuled
│   ├── RuleFitsNothing
│   ├── DigestAmbiguous
│   ├── DraftNotOpen
│   ├── RunDeleted
│   ├── RunNotRunning
│   ├── ChunksMissing
│   ├── LeaseExpired
│   ├── GrantExpired
│   ├── FileChanged
│   ├── FileUnreadable
│   ├── TargetUnusable
│   ├── VerificationFailed
│   ├── SignatureInvalid
│   ├── SignatureMissing
│   ├── AliasRolledBack
│   ├── NotCached
│   ├── SyncFailed
│   └── NotConfigured
├── Aborted
│   ├── AliasChanged
│   └── EtagMismatch
├── Unauthenticated
│   ├── ApiKeyInvalid
│   ├── ApiKeyExpired
│   └── AccessTokenInvalid
├── PermissionDenied
├── ResourceExhausted
│   ├── TooBusy
│   ├── StorageFull
│   └── DiskFull
├── OutOfRange
│   └── RangeInvalid
├── Unavailable
│   └── ServiceUnavailable
├── DeadlineExceeded
├── Cancelled
├── DataLoss
│   └── ChunkCorrupt
├── Unimplemented
└── Internal
    └── InternalError

Each class has a `code` (a canonical gRPC code) and a `reason` (a name in `modelkeep.api.error.v1.ErrorReason`); an abstract
parent has no reason of its own. The message says what to do next; every variable part of it is in `metadata` too.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

DOMAIN = "modelkeep"


class Code(IntEnum):
    """The canonical codes, with the numbers of `google.rpc.Code`."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class ModelkeepError(Exception):
    """The root of all errors of Modelkeep.

    Raise a class that has a reason: `raise VersionNotFound("there is no v9 of digits; the newest is v3", version="v9")`.
    """

    code: ClassVar[Code]
    reason: str = ""
    """That of the class; or what a newer server says, of which this version knows no class."""

    def __init__(self, message: str, /, **metadata: str | int) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = {key: str(value) for key, value in metadata.items()}
        self.request_id = ""
        """Finds the call in the logs of the servers; empty for an error that no call raised."""

    def __str__(self) -> str:
        if not self.request_id:
            return self.message
        between = "\n" if "\n" in self.message else " "  # the last of several lines points at something
        return f"{self.message}{between}(request {self.request_id})"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return rebuild, (self.code, self.reason, self.message, self.metadata, self.request_id)


def rebuild(code: int, reason: str, message: str, metadata: dict[str, str], request_id: str = "") -> ModelkeepError:
    """The error that a status from the wire stands for: by its reason, or by its code when the reason is unknown.

    A reason that is unknown stays on the error.
    """
    cls = BY_REASON.get(reason) or _BY_CODE.get(code, InternalError)
    error = cls(message)
    error.metadata = dict(metadata)
    error.request_id = request_id
    if reason:
        error.reason = reason
    return error


class InvalidArgument(ModelkeepError):
    """A value is out of its range or of the wrong form; `field` and `value` say which."""

    code = Code.INVALID_ARGUMENT
    reason = "INVALID_ARGUMENT"


class InvalidName(InvalidArgument):
    """A resource name, or a part of one, is not well formed (SEM-1)."""

    reason = "INVALID_NAME"


class InvalidAddress(InvalidArgument):
    """An address does not read `[[team/]project/]name[:ref][@pin]` (SEM-3)."""

    reason = "INVALID_ADDRESS"


class InvalidAlias(InvalidArgument):
    """An alias is not well formed, or reserved (SEM-4, 18)."""

    reason = "INVALID_ALIAS"


class InvalidTag(InvalidArgument):
    """A tag is not well formed (SEM-5)."""

    reason = "INVALID_TAG"


class InvalidMetadata(InvalidArgument):
    """Metadata is not a JSON object, or too large, or too deep (SEM-6)."""

    reason = "INVALID_METADATA"


class InvalidPath(InvalidArgument):
    """An entry's path is not safe, or collides with another one (SEM-7)."""

    reason = "INVALID_PATH"


class InvalidEntry(InvalidArgument):
    """An entry's digest, size and segments do not fit together."""

    reason = "INVALID_ENTRY"


class InvalidReference(InvalidArgument):
    """A reference's URI is not well formed, or carries credentials (SEM-32)."""

    reason = "INVALID_REFERENCE"


class InvalidPageToken(InvalidArgument):
    """A page token is not one of ours, or belongs to another query."""

    reason = "PAGE_TOKEN_INVALID"


class InvalidFilter(InvalidArgument):
    """A filter or an order cannot be read, or names a field that there is not; `position` counts characters from 0."""

    reason = "INVALID_FILTER"


class InvalidSafetensors(InvalidArgument):
    """A `.safetensors` file is not well-formed; raised by the SDK when it loads tensors."""

    reason = "INVALID_SAFETENSORS"


class DigestMismatch(InvalidArgument):
    """Bytes are not what their digest says; nothing of them was kept (SEM-24)."""

    reason = "DIGEST_MISMATCH"


class SizeMismatch(InvalidArgument):
    """There are more or fewer bytes than announced; nothing of them was kept."""

    reason = "SIZE_MISMATCH"


class LimitExceeded(InvalidArgument):
    """A batch, message or list is larger than the limit that GetCapabilities tells."""

    reason = "LIMIT_EXCEEDED"


class NotFound(ModelkeepError):
    """What the request names does not exist, or not for this caller."""

    code = Code.NOT_FOUND


class TeamNotFound(NotFound):
    """No such team."""

    reason = "TEAM_NOT_FOUND"


class ProjectNotFound(NotFound):
    """No such project."""

    reason = "PROJECT_NOT_FOUND"


class CollectionNotFound(NotFound):
    """No such collection; `nearest` suggests one."""

    reason = "COLLECTION_NOT_FOUND"


class VersionNotFound(NotFound):
    """No such version; the message names the newest five that exist."""

    reason = "VERSION_NOT_FOUND"


class AliasNotFound(NotFound):
    """No such alias; the message says which exist, `nearest` suggests one."""

    reason = "ALIAS_NOT_FOUND"


class DraftNotFound(NotFound):
    """No such draft."""

    reason = "DRAFT_NOT_FOUND"


class RunNotFound(NotFound):
    """No such run; or no run has what was asked for."""

    reason = "RUN_NOT_FOUND"


class MetricNotFound(NotFound):
    """The run has no such metric; the message says which it has, `nearest` suggests one."""

    reason = "METRIC_NOT_FOUND"


class ApiKeyNotFound(NotFound):
    """No such API key."""

    reason = "API_KEY_NOT_FOUND"


class LeaseNotFound(NotFound):
    """No such lease."""

    reason = "LEASE_NOT_FOUND"


class ChunkNotFound(NotFound):
    """The team holds no such chunk."""

    reason = "CHUNK_NOT_FOUND"


class EntryNotFound(NotFound):
    """The version, or the draft, has no such path."""

    reason = "ENTRY_NOT_FOUND"


class AlreadyExists(ModelkeepError):
    """Something else stands where the request wants to write."""

    code = Code.ALREADY_EXISTS


class ProjectExists(AlreadyExists):
    """The project exists."""

    reason = "PROJECT_EXISTS"


class CollectionExists(AlreadyExists):
    """A collection of that name exists."""

    reason = "COLLECTION_EXISTS"


class CollectionTypeMismatch(AlreadyExists):
    """The collection has another type; `type` names it (SEM-2)."""

    reason = "COLLECTION_TYPE_MISMATCH"


class PathConflict(AlreadyExists):
    """The draft has the path already, with other content."""

    reason = "PATH_CONFLICT"


class DraftCommitted(AlreadyExists):
    """The draft was committed with another body; `version` names the result."""

    reason = "DRAFT_COMMITTED"


class RunExists(AlreadyExists):
    """A run of that id exists; resume it, or use another id."""

    reason = "RUN_EXISTS"


class DigestLive(AlreadyExists):
    """Another live version has this content; `version` names it (SEM-44)."""

    reason = "DIGEST_LIVE"


class RequestIdReused(AlreadyExists):
    """The same request id came with another body (SEM-14)."""

    reason = "REQUEST_ID_REUSED"


class FailedPrecondition(ModelkeepError):
    """The state of the server does not allow it now; retrying alone will not help."""

    code = Code.FAILED_PRECONDITION


class VersionDeleted(FailedPrecondition):
    """The version was deleted; who, when and why are in the metadata (SEM-40)."""

    reason = "VERSION_DELETED"


class VersionPurged(FailedPrecondition):
    """The version's time to be restored ran out."""

    reason = "VERSION_PURGED"


class VersionAliased(FailedPrecondition):
    """The version carries aliases; `aliases` names them (SEM-43)."""

    reason = "VERSION_ALIASED"


class AliasRuled(FailedPrecondition):
    """A rule keeps the alias, so nobody sets it by hand; `rule` says which."""

    reason = "ALIAS_RULED"


class RuleFitsNothing(FailedPrecondition):
    """The rule would take an alias away, as no live version has a number at `key`; mend the key, or delete the alias."""

    reason = "RULE_FITS_NOTHING"


class DigestAmbiguous(FailedPrecondition):
    """A digest prefix fits several versions; give more digits."""

    reason = "DIGEST_AMBIGUOUS"


class DraftNotOpen(FailedPrecondition):
    """The draft was aborted, expired or committed; `state` says which."""

    reason = "DRAFT_NOT_OPEN"


class RunDeleted(FailedPrecondition):
    """The run was deleted; who, when and why are in the metadata."""

    reason = "RUN_DELETED"


class RunNotRunning(FailedPrecondition):
    """The run ended; `state` says how. Resume it to go on."""

    reason = "RUN_NOT_RUNNING"


class ChunksMissing(FailedPrecondition):
    """Chunks of the draft are not stored; upload them and commit again. `digests` names the first of them."""

    reason = "CHUNKS_MISSING"


class LeaseExpired(FailedPrecondition):
    """The lease ended; open a new one."""

    reason = "LEASE_EXPIRED"


class GrantExpired(FailedPrecondition):
    """There is no open grant for this upload; prepare it again."""

    reason = "GRANT_EXPIRED"


class FileChanged(FailedPrecondition):
    """A file changed while it was logged; raised by the SDK, nothing was logged."""

    reason = "FILE_CHANGED"


class FileUnreadable(FailedPrecondition):
    """A file cannot be read, or is not a regular file; raised by the SDK."""

    reason = "FILE_UNREADABLE"


class TargetUnusable(FailedPrecondition):
    """A download cannot write to its target, or the target cannot hold the files; raised by the SDK."""

    reason = "TARGET_UNUSABLE"


class VerificationFailed(FailedPrecondition):
    """A folder is not what the version says; raised by the SDK, every difference is in `problems`."""

    reason = "VERIFICATION_FAILED"


class SignatureInvalid(FailedPrecondition):
    """A signature does not fit the version or the key."""

    reason = "SIGNATURE_INVALID"


class SignatureMissing(FailedPrecondition):
    """A version lacks the signature that was asked for; raised by the SDK."""

    reason = "SIGNATURE_MISSING"


class AliasRolledBack(FailedPrecondition):
    """The server shows an older state of an alias than this client saw before; raised by the SDK."""

    reason = "ALIAS_ROLLED_BACK"


class NotCached(FailedPrecondition):
    """Offline, and not everything that is needed lies in the cache; raised by the SDK."""

    reason = "NOT_CACHED"


class SyncFailed(FailedPrecondition):
    """A record of offline work cannot be replayed; raised by the SDK, says which step and why."""

    reason = "SYNC_FAILED"


class NotConfigured(FailedPrecondition):
    """No server is configured and none runs; raised by the SDK, says how to start one."""

    reason = "NOT_CONFIGURED"


class Aborted(ModelkeepError):
    """The caller's expectation is stale: read again, then decide (SEM-17)."""

    code = Code.ABORTED


class AliasChanged(Aborted):
    """The alias does not point where the caller expected; `current` says where it points."""

    reason = "ALIAS_CHANGED"


class EtagMismatch(Aborted):
    """Somebody edited it meanwhile; `etag` is the current one."""

    reason = "ETAG_MISMATCH"


class Unauthenticated(ModelkeepError):
    """The caller did not prove who it is."""

    code = Code.UNAUTHENTICATED


class ApiKeyInvalid(Unauthenticated):
    """The API key is unknown, malformed or revoked."""

    reason = "API_KEY_INVALID"


class ApiKeyExpired(Unauthenticated):
    """The API key's time ran out."""

    reason = "API_KEY_EXPIRED"


class AccessTokenInvalid(Unauthenticated):
    """There is no access token, or it ended, or nobody we trust signed it."""

    reason = "ACCESS_TOKEN_INVALID"


class PermissionDenied(ModelkeepError):
    """The caller's key does not allow this; the message says what it needs."""

    code = Code.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class ResourceExhausted(ModelkeepError):
    """Something is full."""

    code = Code.RESOURCE_EXHAUSTED


class TooBusy(ResourceExhausted):
    """The server works at its limit; try again after `retry_after_seconds`."""

    reason = "TOO_BUSY"


class StorageFull(ResourceExhausted):
    """The server's disk or store is full; nothing was kept."""

    reason = "STORAGE_FULL"


class DiskFull(ResourceExhausted):
    """The disk of the client is full; raised by the SDK, nothing half-written was left."""

    reason = "DISK_FULL"


class OutOfRange(ModelkeepError):
    """A range lies outside of what there is."""

    code = Code.OUT_OF_RANGE


class RangeInvalid(OutOfRange):
    """The range lies outside of the chunk or file."""

    reason = "RANGE_INVALID"


class Unavailable(ModelkeepError):
    """Nobody answered; the same call may work later."""

    code = Code.UNAVAILABLE


class ServiceUnavailable(Unavailable):
    """A service, its database or its store cannot be reached."""

    reason = "SERVICE_UNAVAILABLE"


class DeadlineExceeded(ModelkeepError):
    """The call, or a stream that idled, took longer than it may."""

    code = Code.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class Cancelled(ModelkeepError):
    """The call was cancelled."""

    code = Code.CANCELLED
    reason = "CANCELLED"


class DataLoss(ModelkeepError):
    """Stored bytes are not what they were."""

    code = Code.DATA_LOSS


class ChunkCorrupt(DataLoss):
    """The stored bytes of a chunk are not what its digest says."""

    reason = "CHUNK_CORRUPT"


class Unimplemented(ModelkeepError):
    """The server is older than the client, or the store cannot do this."""

    code = Code.UNIMPLEMENTED
    reason = "UNIMPLEMENTED"


class Internal(ModelkeepError):
    """A fault of ours."""

    code = Code.INTERNAL


class InternalError(Internal):
    """Something went wrong inside; the request id finds it in the server's log."""

    reason = "INTERNAL_ERROR"


def _all(cls: type[ModelkeepError]) -> list[type[ModelkeepError]]:
    return [found for child in cls.__subclasses__() for found in (child, *_all(child))]


BY_REASON: dict[str, type[ModelkeepError]] = {c.reason: c for c in _all(ModelkeepError) if "reason" in vars(c)}
"""Every class that has a reason of its own."""

_BY_CODE: dict[int, type[ModelkeepError]] = {int(c.code): c for c in ModelkeepError.__subclasses__()}
