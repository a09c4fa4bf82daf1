"""When the SDK tries again (RELIABILITY §2.7): only where it helps, with back-off, and never past the deadline."""

from __future__ import annotations

import math

import pytest
from modelkeep._retry import LONGEST_WAIT_SECONDS, Retry
from modelkeep.errors import DiskFull, InvalidName, ModelkeepError, ResourceExhausted, ServiceUnavailable, StorageFull, TooBusy

AWAY = ServiceUnavailable("away")


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def retry_of(time: Time, timeout: float, random: float = 1.0) -> Retry:
    return Retry(timeout, clock=lambda: time.now, sleep=time.sleep, random=lambda: random)


def pause_for_ever(retry: Retry, patience_seconds: float = math.inf) -> None:
    while True:
        retry.pause(AWAY, patience_seconds)


def test_waits_double_up_to_a_limit() -> None:
    time = Time()
    retry = retry_of(time, 1000)
    for _ in range(9):
        retry.pause(AWAY)
    assert time.waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS]


def test_waits_have_jitter() -> None:
    time = Time()
    retry_of(time, 1000, random=0.25).pause(AWAY)
    assert time.waits == [0.025]


def test_the_deadline_holds_for_all_tries_together() -> None:
    time = Time()
    retry = retry_of(time, 1)
    with pytest.raises(ServiceUnavailable):
        pause_for_ever(retry)
    assert time.now < 1
    time.now = 5
    assert 0 < retry.left_seconds() < 0.01


def test_what_the_server_asks_for_is_honoured() -> None:
    time = Time()
    retry = retry_of(time, 100, random=0)
    retry.pause(TooBusy("later", retry_after_seconds=7))
    assert time.waits == [7]
    with pytest.raises(TooBusy):
        retry.pause(TooBusy("much later", retry_after_seconds=3600))


def test_patience_is_shorter_than_the_deadline_before_the_first_contact() -> None:
    time = Time()
    retry = retry_of(time, 1000)
    with pytest.raises(ServiceUnavailable):
        pause_for_ever(retry, 5)
    assert time.now < 5


@pytest.mark.parametrize(
    "error", [InvalidName("x"), StorageFull("x"), DiskFull("x"), ResourceExhausted("the message is too large")]
)
def test_what_stays_wrong_is_raised_at_once(error: ModelkeepError) -> None:
    time = Time()
    with pytest.raises(type(error)):
        retry_of(time, 1000).pause(error)
    assert time.waits == []
