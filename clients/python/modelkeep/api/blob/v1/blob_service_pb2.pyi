import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from modelkeep.api.blob.v1 import digest_pb2 as _digest_pb2
from modelkeep.api.blob.v1 import lease_pb2 as _lease_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UploadResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UPLOAD_RESULT_UNSPECIFIED: _ClassVar[UploadResult]
    UPLOAD_RESULT_PUBLISHED: _ClassVar[UploadResult]
    UPLOAD_RESULT_OBJECT_MISSING: _ClassVar[UploadResult]
    UPLOAD_RESULT_GRANT_EXPIRED: _ClassVar[UploadResult]
    UPLOAD_RESULT_SIZE_MISMATCH: _ClassVar[UploadResult]
    UPLOAD_RESULT_DIGEST_MISMATCH: _ClassVar[UploadResult]
UPLOAD_RESULT_UNSPECIFIED: UploadResult
UPLOAD_RESULT_PUBLISHED: UploadResult
UPLOAD_RESULT_OBJECT_MISSING: UploadResult
UPLOAD_RESULT_GRANT_EXPIRED: UploadResult
UPLOAD_RESULT_SIZE_MISMATCH: UploadResult
UPLOAD_RESULT_DIGEST_MISMATCH: UploadResult

class GetCapabilitiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Capabilities(_message.Message):
    __slots__ = ("max_chunk_bytes", "block_bytes", "max_batch_chunks", "max_data_bytes", "lease_seconds", "direct_upload", "direct_download", "average_chunk_bytes", "pack_bytes", "staging_folder")
    MAX_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    BLOCK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    MAX_DATA_BYTES_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DIRECT_UPLOAD_FIELD_NUMBER: _ClassVar[int]
    DIRECT_DOWNLOAD_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    PACK_BYTES_FIELD_NUMBER: _ClassVar[int]
    STAGING_FOLDER_FIELD_NUMBER: _ClassVar[int]
    max_chunk_bytes: int
    block_bytes: int
    max_batch_chunks: int
    max_data_bytes: int
    lease_seconds: int
    direct_upload: bool
    direct_download: bool
    average_chunk_bytes: int
    pack_bytes: int
    staging_folder: str
    def __init__(self, max_chunk_bytes: _Optional[int] = ..., block_bytes: _Optional[int] = ..., max_batch_chunks: _Optional[int] = ..., max_data_bytes: _Optional[int] = ..., lease_seconds: _Optional[int] = ..., direct_upload: bool = ..., direct_download: bool = ..., average_chunk_bytes: _Optional[int] = ..., pack_bytes: _Optional[int] = ..., staging_folder: _Optional[str] = ...) -> None: ...

class PrepareUploadRequest(_message.Message):
    __slots__ = ("parent", "lease", "chunks", "stream_only", "staging_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    STREAM_ONLY_FIELD_NUMBER: _ClassVar[int]
    STAGING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    lease: str
    chunks: _containers.RepeatedCompositeFieldContainer[_digest_pb2.Chunk]
    stream_only: bool
    staging_token: str
    def __init__(self, parent: _Optional[str] = ..., lease: _Optional[str] = ..., chunks: _Optional[_Iterable[_Union[_digest_pb2.Chunk, _Mapping]]] = ..., stream_only: bool = ..., staging_token: _Optional[str] = ...) -> None: ...

class PrepareUploadResponse(_message.Message):
    __slots__ = ("lease", "plans")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    PLANS_FIELD_NUMBER: _ClassVar[int]
    lease: _lease_pb2.Lease
    plans: _containers.RepeatedCompositeFieldContainer[UploadPlan]
    def __init__(self, lease: _Optional[_Union[_lease_pb2.Lease, _Mapping]] = ..., plans: _Optional[_Iterable[_Union[UploadPlan, _Mapping]]] = ...) -> None: ...

class UploadPlan(_message.Message):
    __slots__ = ("present", "url", "stream", "staged")
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    STAGED_FIELD_NUMBER: _ClassVar[int]
    present: PresentChunk
    url: UploadUrl
    stream: UploadStream
    staged: StagedUpload
    def __init__(self, present: _Optional[_Union[PresentChunk, _Mapping]] = ..., url: _Optional[_Union[UploadUrl, _Mapping]] = ..., stream: _Optional[_Union[UploadStream, _Mapping]] = ..., staged: _Optional[_Union[StagedUpload, _Mapping]] = ...) -> None: ...

class PresentChunk(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UploadUrl(_message.Message):
    __slots__ = ("url", "expire_time")
    URL_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    url: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, url: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class UploadStream(_message.Message):
    __slots__ = ("write_offset",)
    WRITE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    write_offset: int
    def __init__(self, write_offset: _Optional[int] = ...) -> None: ...

class StagedUpload(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class WriteRequest(_message.Message):
    __slots__ = ("lease", "chunk", "offset", "data")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    lease: str
    chunk: _digest_pb2.Chunk
    offset: int
    data: bytes
    def __init__(self, lease: _Optional[str] = ..., chunk: _Optional[_Union[_digest_pb2.Chunk, _Mapping]] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class WriteResponse(_message.Message):
    __slots__ = ("published_count",)
    PUBLISHED_COUNT_FIELD_NUMBER: _ClassVar[int]
    published_count: int
    def __init__(self, published_count: _Optional[int] = ...) -> None: ...

class CompleteUploadRequest(_message.Message):
    __slots__ = ("lease", "digests")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    lease: str
    digests: _containers.RepeatedCompositeFieldContainer[_digest_pb2.Digest]
    def __init__(self, lease: _Optional[str] = ..., digests: _Optional[_Iterable[_Union[_digest_pb2.Digest, _Mapping]]] = ...) -> None: ...

class CompleteUploadResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedScalarFieldContainer[UploadResult]
    def __init__(self, results: _Optional[_Iterable[_Union[UploadResult, str]]] = ...) -> None: ...

class PrepareDownloadRequest(_message.Message):
    __slots__ = ("parent", "digests", "stream_only")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    STREAM_ONLY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    digests: _containers.RepeatedCompositeFieldContainer[_digest_pb2.Digest]
    stream_only: bool
    def __init__(self, parent: _Optional[str] = ..., digests: _Optional[_Iterable[_Union[_digest_pb2.Digest, _Mapping]]] = ..., stream_only: bool = ...) -> None: ...

class PrepareDownloadResponse(_message.Message):
    __slots__ = ("plans",)
    PLANS_FIELD_NUMBER: _ClassVar[int]
    plans: _containers.RepeatedCompositeFieldContainer[DownloadPlan]
    def __init__(self, plans: _Optional[_Iterable[_Union[DownloadPlan, _Mapping]]] = ...) -> None: ...

class DownloadPlan(_message.Message):
    __slots__ = ("missing", "url", "stream", "size_bytes")
    MISSING_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    missing: MissingChunk
    url: DownloadUrl
    stream: DownloadStream
    size_bytes: int
    def __init__(self, missing: _Optional[_Union[MissingChunk, _Mapping]] = ..., url: _Optional[_Union[DownloadUrl, _Mapping]] = ..., stream: _Optional[_Union[DownloadStream, _Mapping]] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class MissingChunk(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DownloadUrl(_message.Message):
    __slots__ = ("url", "expire_time")
    URL_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    url: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, url: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DownloadStream(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReadRequest(_message.Message):
    __slots__ = ("parent", "ranges")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    parent: str
    ranges: _containers.RepeatedCompositeFieldContainer[ReadRange]
    def __init__(self, parent: _Optional[str] = ..., ranges: _Optional[_Iterable[_Union[ReadRange, _Mapping]]] = ...) -> None: ...

class ReadRange(_message.Message):
    __slots__ = ("digest", "offset", "length")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    digest: _digest_pb2.Digest
    offset: int
    length: int
    def __init__(self, digest: _Optional[_Union[_digest_pb2.Digest, _Mapping]] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class ReadResponse(_message.Message):
    __slots__ = ("range_index", "data")
    RANGE_INDEX_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    range_index: int
    data: bytes
    def __init__(self, range_index: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class StatRequest(_message.Message):
    __slots__ = ("parent", "digests")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    parent: str
    digests: _containers.RepeatedCompositeFieldContainer[_digest_pb2.Digest]
    def __init__(self, parent: _Optional[str] = ..., digests: _Optional[_Iterable[_Union[_digest_pb2.Digest, _Mapping]]] = ...) -> None: ...

class StatResponse(_message.Message):
    __slots__ = ("stats",)
    STATS_FIELD_NUMBER: _ClassVar[int]
    stats: _containers.RepeatedCompositeFieldContainer[ChunkStat]
    def __init__(self, stats: _Optional[_Iterable[_Union[ChunkStat, _Mapping]]] = ...) -> None: ...

class ChunkStat(_message.Message):
    __slots__ = ("present", "size_bytes")
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    present: bool
    size_bytes: int
    def __init__(self, present: bool = ..., size_bytes: _Optional[int] = ...) -> None: ...

class RenewLeaseRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...
