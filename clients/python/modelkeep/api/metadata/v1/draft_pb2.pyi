import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from modelkeep.api.metadata.v1 import rule_pb2 as _rule_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DraftState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRAFT_STATE_UNSPECIFIED: _ClassVar[DraftState]
    DRAFT_STATE_OPEN: _ClassVar[DraftState]
    DRAFT_STATE_COMMITTED: _ClassVar[DraftState]
    DRAFT_STATE_ABORTED: _ClassVar[DraftState]
    DRAFT_STATE_EXPIRED: _ClassVar[DraftState]
DRAFT_STATE_UNSPECIFIED: DraftState
DRAFT_STATE_OPEN: DraftState
DRAFT_STATE_COMMITTED: DraftState
DRAFT_STATE_ABORTED: DraftState
DRAFT_STATE_EXPIRED: DraftState

class Draft(_message.Message):
    __slots__ = ("name", "collection", "type", "state", "create_time", "expire_time", "version", "base", "distributed_id", "creator", "comparison")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    DISTRIBUTED_ID_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    name: str
    collection: str
    type: str
    state: DraftState
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    version: str
    base: str
    distributed_id: str
    creator: str
    comparison: _rule_pb2.Comparison
    def __init__(self, name: _Optional[str] = ..., collection: _Optional[str] = ..., type: _Optional[str] = ..., state: _Optional[_Union[DraftState, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[str] = ..., base: _Optional[str] = ..., distributed_id: _Optional[str] = ..., creator: _Optional[str] = ..., comparison: _Optional[_Union[_rule_pb2.Comparison, _Mapping]] = ...) -> None: ...
