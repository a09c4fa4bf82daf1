import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from modelkeep.api.blob.v1 import digest_pb2 as _digest_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChangeTokenKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANGE_TOKEN_KIND_UNSPECIFIED: _ClassVar[ChangeTokenKind]
    CHANGE_TOKEN_KIND_ETAG: _ClassVar[ChangeTokenKind]
    CHANGE_TOKEN_KIND_GENERATION: _ClassVar[ChangeTokenKind]
    CHANGE_TOKEN_KIND_LAST_MODIFIED: _ClassVar[ChangeTokenKind]
CHANGE_TOKEN_KIND_UNSPECIFIED: ChangeTokenKind
CHANGE_TOKEN_KIND_ETAG: ChangeTokenKind
CHANGE_TOKEN_KIND_GENERATION: ChangeTokenKind
CHANGE_TOKEN_KIND_LAST_MODIFIED: ChangeTokenKind

class Entry(_message.Message):
    __slots__ = ("path", "digest", "size_bytes", "executable", "segments", "continued", "reference")
    PATH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXECUTABLE_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    CONTINUED_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    path: str
    digest: _digest_pb2.Digest
    size_bytes: int
    executable: bool
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    continued: bool
    reference: Reference
    def __init__(self, path: _Optional[str] = ..., digest: _Optional[_Union[_digest_pb2.Digest, _Mapping]] = ..., size_bytes: _Optional[int] = ..., executable: bool = ..., segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ..., continued: bool = ..., reference: _Optional[_Union[Reference, _Mapping]] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("chunk", "offset", "length")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    chunk: _digest_pb2.Digest
    offset: int
    length: int
    def __init__(self, chunk: _Optional[_Union[_digest_pb2.Digest, _Mapping]] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class Reference(_message.Message):
    __slots__ = ("uri", "object_version", "change_token", "change_token_kind", "checked_time")
    URI_FIELD_NUMBER: _ClassVar[int]
    OBJECT_VERSION_FIELD_NUMBER: _ClassVar[int]
    CHANGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CHANGE_TOKEN_KIND_FIELD_NUMBER: _ClassVar[int]
    CHECKED_TIME_FIELD_NUMBER: _ClassVar[int]
    uri: str
    object_version: str
    change_token: str
    change_token_kind: ChangeTokenKind
    checked_time: _timestamp_pb2.Timestamp
    def __init__(self, uri: _Optional[str] = ..., object_version: _Optional[str] = ..., change_token: _Optional[str] = ..., change_token_kind: _Optional[_Union[ChangeTokenKind, str]] = ..., checked_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
