import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VersionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERSION_STATE_UNSPECIFIED: _ClassVar[VersionState]
    VERSION_STATE_COMMITTED: _ClassVar[VersionState]
    VERSION_STATE_DELETED: _ClassVar[VersionState]
    VERSION_STATE_PURGED: _ClassVar[VersionState]
VERSION_STATE_UNSPECIFIED: VersionState
VERSION_STATE_COMMITTED: VersionState
VERSION_STATE_DELETED: VersionState
VERSION_STATE_PURGED: VersionState

class Version(_message.Message):
    __slots__ = ("name", "uid", "state", "digest", "type", "description", "notes", "metadata_json", "tags", "aliases", "entry_count", "stored_bytes", "referenced_bytes", "create_time", "update_time", "verified_time", "creator", "run", "run_display_name", "etag", "tombstone", "uses", "origin")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    ENTRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    REFERENCED_BYTES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    RUN_DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    TOMBSTONE_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    state: VersionState
    digest: str
    type: str
    description: str
    notes: str
    metadata_json: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    aliases: _containers.RepeatedScalarFieldContainer[str]
    entry_count: int
    stored_bytes: int
    referenced_bytes: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    verified_time: _timestamp_pb2.Timestamp
    creator: str
    run: str
    run_display_name: str
    etag: str
    tombstone: Tombstone
    uses: UseSummary
    origin: Origin
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., state: _Optional[_Union[VersionState, str]] = ..., digest: _Optional[str] = ..., type: _Optional[str] = ..., description: _Optional[str] = ..., notes: _Optional[str] = ..., metadata_json: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., aliases: _Optional[_Iterable[str]] = ..., entry_count: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., referenced_bytes: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., verified_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., run: _Optional[str] = ..., run_display_name: _Optional[str] = ..., etag: _Optional[str] = ..., tombstone: _Optional[_Union[Tombstone, _Mapping]] = ..., uses: _Optional[_Union[UseSummary, _Mapping]] = ..., origin: _Optional[_Union[Origin, _Mapping]] = ...) -> None: ...

class Tombstone(_message.Message):
    __slots__ = ("actor", "reason", "delete_time", "purge_time")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    PURGE_TIME_FIELD_NUMBER: _ClassVar[int]
    actor: str
    reason: str
    delete_time: _timestamp_pb2.Timestamp
    purge_time: _timestamp_pb2.Timestamp
    def __init__(self, actor: _Optional[str] = ..., reason: _Optional[str] = ..., delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., purge_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class UseSummary(_message.Message):
    __slots__ = ("run_count", "first_use_time", "last_use_time")
    RUN_COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_USE_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_USE_TIME_FIELD_NUMBER: _ClassVar[int]
    run_count: int
    first_use_time: _timestamp_pb2.Timestamp
    last_use_time: _timestamp_pb2.Timestamp
    def __init__(self, run_count: _Optional[int] = ..., first_use_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_use_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Origin(_message.Message):
    __slots__ = ("version", "version_uid")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_UID_FIELD_NUMBER: _ClassVar[int]
    version: str
    version_uid: str
    def __init__(self, version: _Optional[str] = ..., version_uid: _Optional[str] = ...) -> None: ...
