"""How many transfers run at once: as many as make them faster."""

from __future__ import annotations

import threading

import pytest
from modelkeep._pace import FIRST, MOST, Pace


class Store:
    """Takes a second for each transfer while fewer than `room` run, and longer for each one more."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def work(self, pace: Pace, transfers: int) -> None:
        for _ in range(transfers):
            running = min(pace.limit, self.room)
            self.now += 1.0 / running * (1 + max(0, pace.limit - self.room) * 0.1)
            with pace.one(1):
                pass


def paced(room: int) -> tuple[Store, Pace]:
    store = Store(room)
    return store, Pace(clock=store.clock)


@pytest.mark.parametrize("room", [1, 4, 8, 16])
def test_it_finds_about_what_the_store_can_take(room: int) -> None:
    store, pace = paced(room)
    store.work(pace, 500)
    assert min(room, FIRST) <= pace.limit <= max(2 * room, FIRST)


def test_it_has_a_bound() -> None:
    store, pace = paced(10_000)
    store.work(pace, 5000)
    assert pace.limit == MOST


def test_it_slows_down_and_comes_back() -> None:
    store, pace = paced(16)
    store.work(pace, 500)
    before = pace.limit
    for _ in range(10):
        pace.slow_down()
    assert pace.limit == 1
    store.work(pace, 5000)
    assert pace.limit > before // 2


def test_no_more_run_than_the_bound_says() -> None:
    pace = Pace(most=2)
    running, most, lock = 0, 0, threading.Lock()

    def transfer() -> None:
        nonlocal running, most
        for _ in range(50):
            with pace.one(1):
                with lock:
                    running += 1
                    most = max(most, running)
                with lock:
                    running -= 1

    threads = [threading.Thread(target=transfer) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 2


def test_a_transfer_that_fails_gives_its_turn_back() -> None:
    pace = Pace(most=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), pace.one(1):
            raise ValueError("broken")
    with pace.one(1):
        pass
