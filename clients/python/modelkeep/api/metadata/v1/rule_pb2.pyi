import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Goal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GOAL_UNSPECIFIED: _ClassVar[Goal]
    GOAL_MAX: _ClassVar[Goal]
    GOAL_MIN: _ClassVar[Goal]
GOAL_UNSPECIFIED: Goal
GOAL_MAX: Goal
GOAL_MIN: Goal

class OnlyIfBetter(_message.Message):
    __slots__ = ("key", "goal")
    KEY_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    key: str
    goal: Goal
    def __init__(self, key: _Optional[str] = ..., goal: _Optional[_Union[Goal, str]] = ...) -> None: ...

class Comparison(_message.Message):
    __slots__ = ("key", "goal", "value", "best_value", "best_version", "is_better")
    KEY_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    BEST_VALUE_FIELD_NUMBER: _ClassVar[int]
    BEST_VERSION_FIELD_NUMBER: _ClassVar[int]
    IS_BETTER_FIELD_NUMBER: _ClassVar[int]
    key: str
    goal: Goal
    value: float
    best_value: float
    best_version: str
    is_better: bool
    def __init__(self, key: _Optional[str] = ..., goal: _Optional[_Union[Goal, str]] = ..., value: _Optional[float] = ..., best_value: _Optional[float] = ..., best_version: _Optional[str] = ..., is_better: bool = ...) -> None: ...

class AliasRule(_message.Message):
    __slots__ = ("alias", "expression", "version", "create_time", "creator")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    alias: str
    expression: str
    version: str
    create_time: _timestamp_pb2.Timestamp
    creator: str
    def __init__(self, alias: _Optional[str] = ..., expression: _Optional[str] = ..., version: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ...) -> None: ...
