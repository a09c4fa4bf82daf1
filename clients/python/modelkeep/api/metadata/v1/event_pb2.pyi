import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("uid", "project", "sequence", "event_time", "actor", "project_created", "collection_created", "collection_renamed", "collection_updated", "version_committed", "version_updated", "version_deleted", "version_restored", "alias_moved", "version_used", "version_signed")
    UID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    PROJECT_CREATED_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_CREATED_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_RENAMED_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_UPDATED_FIELD_NUMBER: _ClassVar[int]
    VERSION_COMMITTED_FIELD_NUMBER: _ClassVar[int]
    VERSION_UPDATED_FIELD_NUMBER: _ClassVar[int]
    VERSION_DELETED_FIELD_NUMBER: _ClassVar[int]
    VERSION_RESTORED_FIELD_NUMBER: _ClassVar[int]
    ALIAS_MOVED_FIELD_NUMBER: _ClassVar[int]
    VERSION_USED_FIELD_NUMBER: _ClassVar[int]
    VERSION_SIGNED_FIELD_NUMBER: _ClassVar[int]
    uid: str
    project: str
    sequence: int
    event_time: _timestamp_pb2.Timestamp
    actor: str
    project_created: ProjectCreated
    collection_created: CollectionCreated
    collection_renamed: CollectionRenamed
    collection_updated: CollectionUpdated
    version_committed: VersionCommitted
    version_updated: VersionUpdated
    version_deleted: VersionDeleted
    version_restored: VersionRestored
    alias_moved: AliasMoved
    version_used: VersionUsed
    version_signed: VersionSigned
    def __init__(self, uid: _Optional[str] = ..., project: _Optional[str] = ..., sequence: _Optional[int] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., project_created: _Optional[_Union[ProjectCreated, _Mapping]] = ..., collection_created: _Optional[_Union[CollectionCreated, _Mapping]] = ..., collection_renamed: _Optional[_Union[CollectionRenamed, _Mapping]] = ..., collection_updated: _Optional[_Union[CollectionUpdated, _Mapping]] = ..., version_committed: _Optional[_Union[VersionCommitted, _Mapping]] = ..., version_updated: _Optional[_Union[VersionUpdated, _Mapping]] = ..., version_deleted: _Optional[_Union[VersionDeleted, _Mapping]] = ..., version_restored: _Optional[_Union[VersionRestored, _Mapping]] = ..., alias_moved: _Optional[_Union[AliasMoved, _Mapping]] = ..., version_used: _Optional[_Union[VersionUsed, _Mapping]] = ..., version_signed: _Optional[_Union[VersionSigned, _Mapping]] = ...) -> None: ...

class ProjectCreated(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CollectionCreated(_message.Message):
    __slots__ = ("collection", "type", "collection_uid")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_UID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    type: str
    collection_uid: str
    def __init__(self, collection: _Optional[str] = ..., type: _Optional[str] = ..., collection_uid: _Optional[str] = ...) -> None: ...

class CollectionRenamed(_message.Message):
    __slots__ = ("collection", "old_collection", "collection_uid")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    OLD_COLLECTION_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_UID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    old_collection: str
    collection_uid: str
    def __init__(self, collection: _Optional[str] = ..., old_collection: _Optional[str] = ..., collection_uid: _Optional[str] = ...) -> None: ...

class CollectionUpdated(_message.Message):
    __slots__ = ("collection", "type", "collection_uid")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_UID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    type: str
    collection_uid: str
    def __init__(self, collection: _Optional[str] = ..., type: _Optional[str] = ..., collection_uid: _Optional[str] = ...) -> None: ...

class VersionCommitted(_message.Message):
    __slots__ = ("version", "version_uid", "digest", "type", "deduplicated", "run", "run_display_name", "origin_uid", "collection_uid")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_UID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DEDUPLICATED_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    RUN_DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_UID_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_UID_FIELD_NUMBER: _ClassVar[int]
    version: str
    version_uid: str
    digest: str
    type: str
    deduplicated: bool
    run: str
    run_display_name: str
    origin_uid: str
    collection_uid: str
    def __init__(self, version: _Optional[str] = ..., version_uid: _Optional[str] = ..., digest: _Optional[str] = ..., type: _Optional[str] = ..., deduplicated: bool = ..., run: _Optional[str] = ..., run_display_name: _Optional[str] = ..., origin_uid: _Optional[str] = ..., collection_uid: _Optional[str] = ...) -> None: ...

class VersionUpdated(_message.Message):
    __slots__ = ("version", "fields")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    version: str
    fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[str] = ..., fields: _Optional[_Iterable[str]] = ...) -> None: ...

class VersionDeleted(_message.Message):
    __slots__ = ("version", "version_uid", "reason")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_UID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    version: str
    version_uid: str
    reason: str
    def __init__(self, version: _Optional[str] = ..., version_uid: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class VersionRestored(_message.Message):
    __slots__ = ("version", "version_uid")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_UID_FIELD_NUMBER: _ClassVar[int]
    version: str
    version_uid: str
    def __init__(self, version: _Optional[str] = ..., version_uid: _Optional[str] = ...) -> None: ...

class AliasMoved(_message.Message):
    __slots__ = ("alias", "seq", "from_version", "to_version", "reason", "collection_uid")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    FROM_VERSION_FIELD_NUMBER: _ClassVar[int]
    TO_VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_UID_FIELD_NUMBER: _ClassVar[int]
    alias: str
    seq: int
    from_version: str
    to_version: str
    reason: str
    collection_uid: str
    def __init__(self, alias: _Optional[str] = ..., seq: _Optional[int] = ..., from_version: _Optional[str] = ..., to_version: _Optional[str] = ..., reason: _Optional[str] = ..., collection_uid: _Optional[str] = ...) -> None: ...

class VersionUsed(_message.Message):
    __slots__ = ("version", "version_uid", "run", "run_display_name", "alias_text")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_UID_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    RUN_DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    ALIAS_TEXT_FIELD_NUMBER: _ClassVar[int]
    version: str
    version_uid: str
    run: str
    run_display_name: str
    alias_text: str
    def __init__(self, version: _Optional[str] = ..., version_uid: _Optional[str] = ..., run: _Optional[str] = ..., run_display_name: _Optional[str] = ..., alias_text: _Optional[str] = ...) -> None: ...

class VersionSigned(_message.Message):
    __slots__ = ("version", "version_uid", "key_id")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_UID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    version: str
    version_uid: str
    key_id: str
    def __init__(self, version: _Optional[str] = ..., version_uid: _Optional[str] = ..., key_id: _Optional[str] = ...) -> None: ...
