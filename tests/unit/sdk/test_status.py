"""Errors on the wire: the class that was raised is the class that arrives (HOUSE §8)."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from modelkeep import errors
from modelkeep._status import DETAILS_HEADER, REQUEST_ID_HEADER, from_rpc_error, from_status, retry_after_seconds, to_status


class Failed(grpc.RpcError):
    """What gRPC raises, as far as anybody may look at it."""

    def __init__(self, code: grpc.StatusCode, details: str, trailers: Any = ()) -> None:
        self._code, self._details, self._trailers = code, details, trailers

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._trailers


def grpc_code(number: int) -> grpc.StatusCode:
    return next(code for code in grpc.StatusCode if code.value[0] == number)


@pytest.mark.parametrize("reason", sorted(errors.BY_REASON))
def test_every_class_comes_back_as_itself(reason: str) -> None:
    raised = errors.BY_REASON[reason]("what to do next", field="name", value="ä:b")
    trailers = ((DETAILS_HEADER, to_status(raised).SerializeToString()), (REQUEST_ID_HEADER, "abc"))
    caught = from_rpc_error(Failed(grpc_code(raised.code), "what to do next", trailers))
    assert type(caught) is type(raised)
    assert caught.message == raised.message
    assert caught.metadata == raised.metadata
    assert caught.request_id == "abc"


def test_a_retry_delay_travels_as_retry_info() -> None:
    status = to_status(errors.TooBusy("later", retry_after_seconds="1.5"))
    info = RetryInfo()
    assert status.details[1].Unpack(info)
    assert info.retry_delay.ToMilliseconds() == 1500
    assert retry_after_seconds(from_status(status)) == 1.5


def test_a_retry_info_of_somebody_else_counts() -> None:
    status = Status(code=8, message="slow down")
    info = RetryInfo()
    info.retry_delay.FromMilliseconds(250)
    status.details.add().Pack(info)
    error = from_status(status)
    assert isinstance(error, errors.ResourceExhausted)
    assert retry_after_seconds(error) == 0.25


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf", ""])
def test_a_delay_that_makes_no_sense_is_none(value: str) -> None:
    assert retry_after_seconds(errors.TooBusy("later", retry_after_seconds=value)) is None
    assert len(to_status(errors.TooBusy("later", retry_after_seconds=value)).details) == 1


@pytest.mark.parametrize("letter", ["x", "ß", "模"])
def test_long_errors_are_cut_to_fit_into_a_trailer(letter: str) -> None:
    error = errors.ChunksMissing(letter * 20_000, digests=letter * 9_000, other=letter * 5_000, short="kept")
    status = to_status(error)
    assert len(status.SerializeToString()) < 7 * 1024
    back = from_status(status)
    assert isinstance(back, errors.ChunksMissing)
    assert back.message.endswith("…")
    assert back.metadata["short"] == "kept"


def test_many_keys_fit_too() -> None:
    error = errors.InvalidArgument("many", **{f"{'k' * 100}{i}": "v" * 500 for i in range(500)})
    assert len(to_status(error).SerializeToString()) < 7 * 1024


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.ServiceUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded),
        (grpc.StatusCode.UNKNOWN, errors.InternalError),
        (grpc.StatusCode.INTERNAL, errors.InternalError),
        (grpc.StatusCode.UNIMPLEMENTED, errors.Unimplemented),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.ResourceExhausted),
        (grpc.StatusCode.NOT_FOUND, errors.NotFound),
    ],
)
def test_what_grpc_itself_raises_gets_a_class_by_its_code(code: grpc.StatusCode, cls: type[errors.ModelkeepError]) -> None:
    error = from_rpc_error(Failed(code, "the transport says so"))
    assert type(error) is cls
    assert error.message == "the transport says so"


def test_details_that_are_garbage_or_contradict_the_code_are_ignored() -> None:
    garbage = from_rpc_error(Failed(grpc.StatusCode.UNAVAILABLE, "gone", ((DETAILS_HEADER, b"\xff\xff\xff"),)))
    assert type(garbage) is errors.ServiceUnavailable
    other = to_status(errors.VersionNotFound("no such version")).SerializeToString()
    contradiction = from_rpc_error(Failed(grpc.StatusCode.INTERNAL, "broken", ((DETAILS_HEADER, other),)))
    assert type(contradiction) is errors.InternalError


def test_a_call_that_the_server_dropped_may_be_tried_again() -> None:
    """R11: a server that stops drops calls that reach it in that moment; only what we cancelled ourselves is CANCELLED."""
    dropped = from_rpc_error(Failed(grpc.StatusCode.CANCELLED, "CANCELLED"))
    assert type(dropped) is errors.ServiceUnavailable
    ours = from_rpc_error(Failed(grpc.StatusCode.CANCELLED, "Locally cancelled by application!"))
    assert type(ours) is errors.Cancelled
    status = ((DETAILS_HEADER, to_status(errors.Cancelled("the server says so")).SerializeToString()),)
    assert type(from_rpc_error(Failed(grpc.StatusCode.CANCELLED, "the server says so", status))) is errors.Cancelled


def test_reasons_of_another_domain_are_not_ours() -> None:
    status = to_status(errors.VersionNotFound("x"))
    packed = status.details[0]
    info = ErrorInfo()
    packed.Unpack(info)
    info.domain = "example.org"
    packed.Pack(info)
    assert type(from_status(status)) is errors.NotFound
