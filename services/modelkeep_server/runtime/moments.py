"""Moments on the wire."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from modelkeep.errors import InvalidArgument

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MICROS: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def to_timestamp(moment: datetime | None) -> Timestamp | None:
    """A moment, exact to the microsecond; None leaves the field unset."""
    if moment is None:
        return None
    micros = to_micros(moment)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def from_timestamp(timestamp: Timestamp, field: str) -> datetime:
    """A moment, cut to the microsecond. Raises InvalidArgument when it is no moment, or before 1970."""
    try:
        moment = _EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1000)
    except OverflowError:
        moment = datetime.min.replace(tzinfo=UTC)
    if moment < _EPOCH or not 0 <= timestamp.nanos < 1_000_000_000:
        raise _no_moment(field, f"{timestamp.seconds}.{timestamp.nanos}")
    return moment


def require_moments(micros: Collection[int], field: str) -> None:
    """Raises InvalidArgument when one of these microseconds since 1970 is before it, or after 9999."""
    for extreme in (min(micros, default=0), max(micros, default=0)):
        if not 0 <= extreme <= _LAST_MICROS:
            raise _no_moment(field, str(extreme))


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The moment that many microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def _no_moment(field: str, value: str) -> InvalidArgument:
    return InvalidArgument(f"{field} is no moment between 1970 and 9999", field=field, value=value)


def to_duration(length: timedelta) -> Duration:
    """A length of time."""
    duration = Duration()
    duration.FromTimedelta(length)
    return duration
