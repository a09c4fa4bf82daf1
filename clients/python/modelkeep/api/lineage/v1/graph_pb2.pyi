import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NodeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NODE_KIND_UNSPECIFIED: _ClassVar[NodeKind]
    NODE_KIND_RUN: _ClassVar[NodeKind]
    NODE_KIND_VERSION: _ClassVar[NodeKind]

class EdgeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EDGE_KIND_UNSPECIFIED: _ClassVar[EdgeKind]
    EDGE_KIND_USED: _ClassVar[EdgeKind]
    EDGE_KIND_PRODUCED: _ClassVar[EdgeKind]

class Direction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIRECTION_UNSPECIFIED: _ClassVar[Direction]
    DIRECTION_UPSTREAM: _ClassVar[Direction]
    DIRECTION_DOWNSTREAM: _ClassVar[Direction]
    DIRECTION_BOTH: _ClassVar[Direction]
NODE_KIND_UNSPECIFIED: NodeKind
NODE_KIND_RUN: NodeKind
NODE_KIND_VERSION: NodeKind
EDGE_KIND_UNSPECIFIED: EdgeKind
EDGE_KIND_USED: EdgeKind
EDGE_KIND_PRODUCED: EdgeKind
DIRECTION_UNSPECIFIED: Direction
DIRECTION_UPSTREAM: Direction
DIRECTION_DOWNSTREAM: Direction
DIRECTION_BOTH: Direction

class Node(_message.Message):
    __slots__ = ("id", "kind", "hidden", "name", "display_name", "type", "create_time", "delete_time", "depth", "external", "version_uid", "digest")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    VERSION_UID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    id: int
    kind: NodeKind
    hidden: bool
    name: str
    display_name: str
    type: str
    create_time: _timestamp_pb2.Timestamp
    delete_time: _timestamp_pb2.Timestamp
    depth: int
    external: bool
    version_uid: str
    digest: str
    def __init__(self, id: _Optional[int] = ..., kind: _Optional[_Union[NodeKind, str]] = ..., hidden: bool = ..., name: _Optional[str] = ..., display_name: _Optional[str] = ..., type: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., depth: _Optional[int] = ..., external: bool = ..., version_uid: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Edge(_message.Message):
    __slots__ = ("source_id", "target_id", "kind", "edge_time", "alias_text", "deduplicated")
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    EDGE_TIME_FIELD_NUMBER: _ClassVar[int]
    ALIAS_TEXT_FIELD_NUMBER: _ClassVar[int]
    DEDUPLICATED_FIELD_NUMBER: _ClassVar[int]
    source_id: int
    target_id: int
    kind: EdgeKind
    edge_time: _timestamp_pb2.Timestamp
    alias_text: str
    deduplicated: bool
    def __init__(self, source_id: _Optional[int] = ..., target_id: _Optional[int] = ..., kind: _Optional[_Union[EdgeKind, str]] = ..., edge_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., alias_text: _Optional[str] = ..., deduplicated: bool = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("token", "node_id", "direction", "kind", "collection", "type", "node_count", "depth", "hidden", "project")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NODE_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    token: str
    node_id: int
    direction: Direction
    kind: NodeKind
    collection: str
    type: str
    node_count: int
    depth: int
    hidden: bool
    project: str
    def __init__(self, token: _Optional[str] = ..., node_id: _Optional[int] = ..., direction: _Optional[_Union[Direction, str]] = ..., kind: _Optional[_Union[NodeKind, str]] = ..., collection: _Optional[str] = ..., type: _Optional[str] = ..., node_count: _Optional[int] = ..., depth: _Optional[int] = ..., hidden: bool = ..., project: _Optional[str] = ...) -> None: ...

class Truncation(_message.Message):
    __slots__ = ("reason", "continuation")
    REASON_FIELD_NUMBER: _ClassVar[int]
    CONTINUATION_FIELD_NUMBER: _ClassVar[int]
    reason: str
    continuation: str
    def __init__(self, reason: _Optional[str] = ..., continuation: _Optional[str] = ...) -> None: ...

class Link(_message.Message):
    __slots__ = ("node", "edge")
    NODE_FIELD_NUMBER: _ClassVar[int]
    EDGE_FIELD_NUMBER: _ClassVar[int]
    node: Node
    edge: Edge
    def __init__(self, node: _Optional[_Union[Node, _Mapping]] = ..., edge: _Optional[_Union[Edge, _Mapping]] = ...) -> None: ...
