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

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    RUN_STATE_RUNNING: _ClassVar[RunState]
    RUN_STATE_FINISHED: _ClassVar[RunState]
    RUN_STATE_FAILED: _ClassVar[RunState]
    RUN_STATE_CRASHED: _ClassVar[RunState]

class MetricSummary(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_SUMMARY_UNSPECIFIED: _ClassVar[MetricSummary]
    METRIC_SUMMARY_LAST: _ClassVar[MetricSummary]
    METRIC_SUMMARY_MIN: _ClassVar[MetricSummary]
    METRIC_SUMMARY_MAX: _ClassVar[MetricSummary]
    METRIC_SUMMARY_NONE: _ClassVar[MetricSummary]
RUN_STATE_UNSPECIFIED: RunState
RUN_STATE_RUNNING: RunState
RUN_STATE_FINISHED: RunState
RUN_STATE_FAILED: RunState
RUN_STATE_CRASHED: RunState
METRIC_SUMMARY_UNSPECIFIED: MetricSummary
METRIC_SUMMARY_LAST: MetricSummary
METRIC_SUMMARY_MIN: MetricSummary
METRIC_SUMMARY_MAX: MetricSummary
METRIC_SUMMARY_NONE: MetricSummary

class Run(_message.Message):
    __slots__ = ("name", "display_name", "state", "job_type", "group", "tags", "notes", "config_json", "summary_json", "source", "environment", "start_time", "end_time", "heartbeat_time", "update_time", "creator", "etag", "resume_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    JOB_TYPE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_JSON_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    RESUME_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    state: RunState
    job_type: str
    group: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    notes: str
    config_json: str
    summary_json: str
    source: Source
    environment: Environment
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    heartbeat_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    etag: str
    resume_count: int
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., state: _Optional[_Union[RunState, str]] = ..., job_type: _Optional[str] = ..., group: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., notes: _Optional[str] = ..., config_json: _Optional[str] = ..., summary_json: _Optional[str] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., environment: _Optional[_Union[Environment, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., heartbeat_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., etag: _Optional[str] = ..., resume_count: _Optional[int] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("repository_url", "commit", "branch", "is_dirty", "code_version", "entry_point", "arguments")
    REPOSITORY_URL_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    IS_DIRTY_FIELD_NUMBER: _ClassVar[int]
    CODE_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENTRY_POINT_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    repository_url: str
    commit: str
    branch: str
    is_dirty: bool
    code_version: str
    entry_point: str
    arguments: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, repository_url: _Optional[str] = ..., commit: _Optional[str] = ..., branch: _Optional[str] = ..., is_dirty: bool = ..., code_version: _Optional[str] = ..., entry_point: _Optional[str] = ..., arguments: _Optional[_Iterable[str]] = ...) -> None: ...

class Environment(_message.Message):
    __slots__ = ("host", "user", "operating_system", "python_version", "packages")
    HOST_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    OPERATING_SYSTEM_FIELD_NUMBER: _ClassVar[int]
    PYTHON_VERSION_FIELD_NUMBER: _ClassVar[int]
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    host: str
    user: str
    operating_system: str
    python_version: str
    packages: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, host: _Optional[str] = ..., user: _Optional[str] = ..., operating_system: _Optional[str] = ..., python_version: _Optional[str] = ..., packages: _Optional[_Iterable[str]] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("key", "summary", "point_count", "last_value", "last_step", "min_value", "max_value", "steps_went_back")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    POINT_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_VALUE_FIELD_NUMBER: _ClassVar[int]
    LAST_STEP_FIELD_NUMBER: _ClassVar[int]
    MIN_VALUE_FIELD_NUMBER: _ClassVar[int]
    MAX_VALUE_FIELD_NUMBER: _ClassVar[int]
    STEPS_WENT_BACK_FIELD_NUMBER: _ClassVar[int]
    key: str
    summary: MetricSummary
    point_count: int
    last_value: float
    last_step: int
    min_value: float
    max_value: float
    steps_went_back: bool
    def __init__(self, key: _Optional[str] = ..., summary: _Optional[_Union[MetricSummary, str]] = ..., point_count: _Optional[int] = ..., last_value: _Optional[float] = ..., last_step: _Optional[int] = ..., min_value: _Optional[float] = ..., max_value: _Optional[float] = ..., steps_went_back: bool = ...) -> None: ...

class MetricDefinition(_message.Message):
    __slots__ = ("key", "summary")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    key: str
    summary: MetricSummary
    def __init__(self, key: _Optional[str] = ..., summary: _Optional[_Union[MetricSummary, str]] = ...) -> None: ...

class MetricSeries(_message.Message):
    __slots__ = ("key", "steps", "values", "times_micros")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    TIMES_MICROS_FIELD_NUMBER: _ClassVar[int]
    key: str
    steps: _containers.RepeatedScalarFieldContainer[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    times_micros: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, key: _Optional[str] = ..., steps: _Optional[_Iterable[int]] = ..., values: _Optional[_Iterable[float]] = ..., times_micros: _Optional[_Iterable[int]] = ...) -> None: ...
