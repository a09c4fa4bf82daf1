"""A fork in a process that watches an alias: no stream is waited for, in whatever state it is."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from modelkeep._follow_watch import AliasState, Watch
from modelkeep._fork import DRAIN_SECONDS, gate
from modelkeep.errors import ModelkeepError

from tests.servers import wait_until
from tests.unit.sdk.watched import WatchedWire

SECONDS = 60


@pytest.mark.peer("M-UP-2")
def test_a_fork_does_not_wait_for_a_stream_that_was_about_to_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has passed the gate, and cannot be interrupted yet."""
    begun, asked = Watch._begun, threading.Event()
    forks: list[threading.Thread] = []
    told: list[AliasState | None] = []
    failed: list[ModelkeepError] = []

    def fork() -> None:
        gate.before_fork()
        gate.after_fork_in_parent()

    def late(watch: Watch, call: Any) -> None:
        if not forks:
            gate.interrupts.add(asked.set)
            forks.append(threading.Thread(target=fork, daemon=True))
            forks[0].start()
            assert asked.wait(SECONDS)
            gate.interrupts.discard(asked.set)
        begun(watch, call)

    monkeypatch.setattr(Watch, "_begun", late)
    with WatchedWire().running() as wire:
        watch = Watch(lambda: wire.config, "m:production", told.append, failed.append)
        watch.start()
        wait_until(lambda: bool(forks), "the stream", SECONDS)
        forks[0].join(DRAIN_SECONDS / 2)
        assert not forks[0].is_alive()
        wire.heartbeat()
        wait_until(lambda: bool(told), "the stream after the fork", SECONDS)
        watch.stop()
    assert failed == []
