from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from modelkeep.api.blob.v1 import digest_pb2 as _digest_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConfirmChunksRequest(_message.Message):
    __slots__ = ("parent", "epoch", "digests")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    parent: str
    epoch: int
    digests: _containers.RepeatedCompositeFieldContainer[_digest_pb2.Digest]
    def __init__(self, parent: _Optional[str] = ..., epoch: _Optional[int] = ..., digests: _Optional[_Iterable[_Union[_digest_pb2.Digest, _Mapping]]] = ...) -> None: ...

class ConfirmChunksResponse(_message.Message):
    __slots__ = ("sizes_bytes",)
    SIZES_BYTES_FIELD_NUMBER: _ClassVar[int]
    sizes_bytes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sizes_bytes: _Optional[_Iterable[int]] = ...) -> None: ...

class AdoptChunksRequest(_message.Message):
    __slots__ = ("parent", "source", "epoch", "digests")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    parent: str
    source: str
    epoch: int
    digests: _containers.RepeatedCompositeFieldContainer[_digest_pb2.Digest]
    def __init__(self, parent: _Optional[str] = ..., source: _Optional[str] = ..., epoch: _Optional[int] = ..., digests: _Optional[_Iterable[_Union[_digest_pb2.Digest, _Mapping]]] = ...) -> None: ...

class AdoptChunksResponse(_message.Message):
    __slots__ = ("sizes_bytes",)
    SIZES_BYTES_FIELD_NUMBER: _ClassVar[int]
    sizes_bytes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sizes_bytes: _Optional[_Iterable[int]] = ...) -> None: ...
