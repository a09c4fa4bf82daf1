"""Following, against a server that says what a test wants: rollbacks, silence, broken fetches, restarts."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import modelkeep
import pytest
from modelkeep import _follow, _follow_watch
from modelkeep._follow import Follower, Wish
from modelkeep.config import Config
from modelkeep.errors import (
    AliasRolledBack,
    DeadlineExceeded,
    DiskFull,
    FailedPrecondition,
    InvalidAddress,
    InvalidArgument,
    NotConfigured,
    PermissionDenied,
    ServiceUnavailable,
    TargetUnusable,
)

from tests.contract.sdk import read
from tests.servers import wait_until
from tests.unit.sdk.watched import WatchedWire, forget_contact

SECONDS = 60
ONE, TWO, THREE = ({"f": word.encode(), "g/h": b"same"} for word in ("one", "two", "three"))


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[WatchedWire]:
    monkeypatch.setattr(_follow_watch, "FIRST_WAIT_SECONDS", 0.02)
    monkeypatch.setenv("MODELKEEP_CACHE_BYTES", "0")  # every version is fetched
    with WatchedWire().running() as running:
        yield running


Follow = Callable[..., Follower]


@pytest.fixture
def follow(wire: WatchedWire, tmp_path: Path) -> Follow:
    class Heard(Follower):
        def __exit__(self, *raised: object) -> None:
            super().__exit__(*raised)
            wait_until(lambda: not wire.metadata.open, "the end of the stream", SECONDS)

    def make(address: str = "m:production", **wishes: Any) -> Follower:
        settings = {"config": lambda: wire.config, "spread_seconds": 0, "timeout_seconds": SECONDS} | wishes
        return Heard(address, tmp_path / "root", Wish(**settings))

    return make


def until(follower: Follower, what: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Wait until the status is as wanted."""
    wait_until(lambda: what(follower.status()), f"another status than {follower.status()}", SECONDS)
    return follower.status()


@pytest.mark.peer("M-SIG-1")
def test_an_older_state_than_was_seen_is_refused(wire: WatchedWire, follow: Follow) -> None:
    """TUF's rollback: whoever replays what was true once is not believed, not even by a new process."""
    one, two, three = (wire.version(number, files) for number, files in enumerate((ONE, TWO, THREE)))
    wire.move(5, two)
    with follow() as current:
        wire.move(4, one)
        status = until(current, lambda status: "alias" in status["errors"])
        assert status["errors"]["alias"]["reason"] == AliasRolledBack.reason
        assert (current.version, read(current.link), status["seen"]["seq"]) == ("v1", TWO, 5)
        wire.move(5, three)  # another version under the same number: one of the two is a lie
        wire.heartbeat()
        wire.move(5, two)
        until(current, lambda status: not status["errors"])
        assert current.version == "v1"
    wire.move(4, one)
    with follow() as current:
        until(current, lambda status: "alias" in status["errors"])
        assert read(current.link) == TWO
        wire.move(6, three)
        assert current.wait(SECONDS)
        assert until(current, lambda status: not status["errors"])["seen"]["seq"] == 6
    wire.move(4, one)
    with follow(accept_rollback=True) as current:
        assert current.wait(SECONDS)
        assert (current.version, current.status()["seen"]["seq"]) == ("v0", 4)


@pytest.mark.peer("M-SIG-1")
def test_what_was_seen_counts_even_when_it_could_not_be_loaded(wire: WatchedWire, follow: Follow) -> None:
    one, two = wire.version(0, ONE), wire.version(1, TWO)
    wire.move(5, one)
    with follow() as current:
        wire.blob.chunks.clear()
        wire.move(6, two)
        until(current, lambda status: "load" in status["errors"])
        wire.move(5, one)
        until(current, lambda status: "alias" in status["errors"])
        assert (current.version, current.status()["behind"]) == ("v0", True)


def test_the_state_file_may_be_lost_and_the_number_is_still_known(wire: WatchedWire, follow: Follow, tmp_path: Path) -> None:
    one, two = wire.version(0, ONE), wire.version(1, TWO)
    wire.move(5, two)
    with follow():
        pass
    (tmp_path / "root/follow.json").write_text("{ no json")
    wire.move(4, one)
    with follow() as current:
        until(current, lambda status: "alias" in status["errors"])
        assert current.version == "v1"


def test_the_number_of_latest_may_stay_or_rise(wire: WatchedWire, follow: Follow) -> None:
    one, two = wire.version(0, ONE), wire.version(1, TWO)
    wire.move(7, one, "latest")
    with follow("m") as current:
        wire.move(7, two, "latest")
        assert current.wait(SECONDS)
        wire.move(6, one, "latest")
        until(current, lambda status: "alias" in status["errors"])
        assert current.version == "v1"


def test_a_node_that_starts_while_the_server_is_away_serves_at_once(wire: WatchedWire, follow: Follow, tmp_path: Path) -> None:
    wire.move(1, wire.version(0, ONE))
    with follow():
        pass
    wire.stop()
    forget_contact(tmp_path / "root")
    with follow() as current:
        assert read(current.path) == read(current.link) == ONE
        status = until(current, lambda status: "watch" in status["errors"])
        assert (status["ready"], status["stale"], status["errors"]["watch"]["reason"]) == (True, True, "SERVICE_UNAVAILABLE")
        assert status["age_seconds"] > 0
        assert not current.wait(0)
    with follow(config=_not_configured) as current:
        assert read(current.path) == ONE


def _not_configured() -> Any:
    raise NotConfigured("no server is configured")


def test_an_empty_folder_waits_and_then_says_what_is_wrong(wire: WatchedWire, follow: Follow) -> None:
    wire.move(0, None)
    assert "points to no version; nothing is loaded" in told_of(follow(), "alias")
    with pytest.raises(DeadlineExceeded, match="not loaded within 0 s"), follow(timeout_seconds=0):
        pass
    wire.calls.errors["WatchAlias"] = [PermissionDenied("not yours")] * 99
    with pytest.raises(PermissionDenied), follow():
        pass
    with pytest.raises(NotConfigured), follow(config=_not_configured):
        pass


def told_of(follower: Follower, where: str) -> str:
    """What a node that has nothing yet says of its trouble."""
    follower.start()
    status = until(follower, lambda status: where in status["errors"])
    follower.close()
    return str(status["errors"][where]["message"])


def test_a_stream_that_breaks_or_ends_is_made_again(wire: WatchedWire, follow: Follow) -> None:
    one, two = wire.version(0, ONE), wire.version(1, TWO)
    wire.calls.errors["WatchAlias"] = [ServiceUnavailable("the server stops")] * 2
    wire.move(1, one)
    with follow() as current:
        assert wire.metadata.streams == 1
        for end in (None, ServiceUnavailable("the server stops")):
            streams = wire.metadata.streams
            wire.metadata.say.put(end)
            wait_until(lambda streams=streams: wire.metadata.streams > streams, "another stream", SECONDS)
        wire.move(2, two)
        assert current.wait(SECONDS)
        until(current, lambda status: not status["errors"])


def test_a_stream_that_falls_silent_is_given_up(wire: WatchedWire, follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_follow_watch, "SILENT_SECONDS", 0.5)
    wire.move(1, wire.version(0, ONE))
    with follow() as current:
        wait_until(lambda: wire.metadata.streams >= 2, "another stream", SECONDS)
        wait_until(lambda: wire.metadata.ended >= 1, "the end of the first", SECONDS)
        monkeypatch.setattr(_follow_watch, "SILENT_SECONDS", 60)
        two = wire.version(1, TWO)
        # Again and again: it is said in vain to a stream that was given up a moment ago.
        wait_until(lambda: wire.move(2, two) or current.wait(1), "the move to be heard", SECONDS)
    wait_until(lambda: wire.metadata.ended == wire.metadata.streams, "the end of all streams", SECONDS)


def test_a_broken_fetch_is_tried_again_and_the_old_version_stays(
    wire: WatchedWire, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_follow, "Backoff", lambda *_: _follow_watch.Backoff(0.05, 0.1))
    one, two = wire.version(0, ONE), wire.version(1, TWO)
    wire.move(1, one)
    with follow() as current:
        bad = dict.fromkeys(sha for sha, data in wire.blob.chunks.items() if data == b"two")
        wire.blob.read = lambda messages: [
            type(m)(range_index=m.range_index, data=m.data.replace(b"two", b"owt")) for m in messages
        ]
        wire.move(2, two)
        status = until(current, lambda status: "load" in status["errors"])
        assert bad
        assert (current.version, read(current.link), status["behind"]) == ("v0", ONE, True)
        wire.blob.read = lambda messages: messages
        assert current.wait(SECONDS)
        assert (read(current.link), until(current, lambda status: not status["errors"])["behind"]) == (TWO, False)


def test_going_back_to_a_version_that_is_there_heals_it(wire: WatchedWire, follow: Follow, tmp_path: Path) -> None:
    one, two = wire.version(0, ONE), wire.version(1, TWO)
    wire.move(1, one)
    with follow() as current:
        first = current.path
        wire.move(2, two)
        assert current.wait(SECONDS)
        (first / "f").write_bytes(b"???")
        (first / "extra").write_bytes(b"!")
        wire.move(3, one)
        assert current.wait(SECONDS)
        assert (current.path, read(current.link)) == (first, ONE)


def test_each_node_waits_its_own_time_after_a_move(wire: WatchedWire, follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = wire.version(0, ONE), wire.version(1, TWO)
    wire.move(1, one)
    with follow(spread_seconds=10**8) as current:
        asked = wire.calls.count("StreamEntries")
        wire.move(2, two)
        until(current, lambda status: status["behind"])
        assert (current.version, wire.calls.count("StreamEntries")) == ("v0", asked)


def test_a_failing_callback_is_told_and_stops_nothing(wire: WatchedWire, follow: Follow) -> None:
    seen = []

    def fail_once(current: Follower) -> None:
        seen.append(current.version)
        if len(seen) == 1:
            raise ValueError("no room on the GPU")

    wire.move(1, wire.version(0, ONE))
    with follow(on_change=fail_once) as current:
        status = until(current, lambda status: "on_change" in status["errors"])
        assert status["errors"]["on_change"] | {"since": ""} == {
            "reason": "ValueError",
            "message": "no room on the GPU",
            "since": "",
        }
        wire.move(2, wire.version(1, TWO))
        assert current.wait(SECONDS)
        until(current, lambda status: not status["errors"])
    assert seen == ["v0", "v1"]


def test_a_switch_that_nobody_was_told_of_is_told_by_the_next_process(
    wire: WatchedWire, follow: Follow, tmp_path: Path
) -> None:
    wire.move(1, wire.version(0, ONE))
    with follow():
        pass
    state = json.loads((tmp_path / "root/follow.json").read_text())
    (tmp_path / "root/follow.json").write_text(json.dumps(state | {"announced": ""}))  # as if killed in between
    seen: list[str] = []
    for _ in range(2):
        with follow(on_change=lambda current: seen.append(current.version)) as current:
            until(current, lambda status: status["announced"])
    assert seen == ["v0"]


def test_a_disk_too_full_for_the_state_keeps_no_node_from_going_on(
    wire: WatchedWire, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DiskFull("the disk is full")

    seen: list[str] = []
    wire.move(1, wire.version(0, ONE))
    with follow(on_change=lambda current: seen.append(current.version)) as current:
        until(current, lambda status: status["announced"])
        with monkeypatch.context() as patch:
            patch.setattr(_follow.FollowRoot, "remember", full)
            wire.move(2, wire.version(1, TWO))
            assert current.wait(SECONDS)
            status = until(current, lambda status: status["announced"].startswith("v1"))
            assert (read(current.link), status["errors"]["state"]["reason"]) == (TWO, "DISK_FULL")
        wire.move(3, wire.version(2, THREE))
        assert current.wait(SECONDS)
        until(current, lambda status: status["announced"].startswith("v2") and not status["errors"])
    assert seen == ["v0", "v1", "v2"]


def test_a_callback_may_end_it(wire: WatchedWire, follow: Follow) -> None:
    ended = threading.Event()

    def end(current: Follower) -> None:
        current.close()
        ended.set()

    wire.move(1, wire.version(0, ONE))
    follower = follow(on_change=end)
    follower.start()
    assert ended.wait(SECONDS)
    assert "on_change" not in follower.status()["errors"]
    assert not follower.wait(SECONDS) or not follower.wait(SECONDS)
    wait_until(lambda: not follower.is_loading, "the end of its thread", SECONDS)


def test_a_fork_does_not_wait_for_the_stream(wire: WatchedWire, follow: Follow) -> None:
    """A data loader forks while the node follows: the stream ends, and is made again in the parent."""
    wire.move(1, wire.version(0, ONE))
    with follow() as current:
        streams = wire.metadata.streams
        child = os.fork()
        if not child:
            os._exit(7 if modelkeep._fork.gate.interrupts else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        wait_until(lambda: wire.metadata.streams > streams, "another stream", SECONDS)
        wire.move(2, wire.version(1, TWO))
        assert current.wait(SECONDS)


def test_two_may_not_follow_into_one_folder(wire: WatchedWire, follow: Follow) -> None:
    wire.move(1, wire.version(0, ONE))
    with follow(), pytest.raises(TargetUnusable, match=rf"process {os.getpid()} on .*m:production"):
        follow()
    with pytest.raises(TargetUnusable, match="choose another folder"):
        follow("m:staging")
    with follow() as current:
        assert current.version == "v0"


@pytest.mark.parametrize(
    ("address", "wishes", "error"),
    [
        ("m:v3", {}, InvalidAddress),
        ("m@sha256:12345678", {}, InvalidAddress),
        ("m:production@2026-01-01", {}, InvalidAddress),
        ("m:", {}, InvalidAddress),
        ("m:production", {"keep": 0}, InvalidArgument),
        ("m:production", {"spread_seconds": -1}, InvalidArgument),
        ("m:production", {"spread_seconds": float("nan")}, InvalidArgument),
        ("m:production", {"warn_age_seconds": 20}, InvalidArgument),
        ("m:production", {"keys": []}, InvalidArgument),
    ],
)
def test_bad_wishes_are_refused_before_anything_is_made(
    follow: Follow, tmp_path: Path, address: str, wishes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        follow(address, **wishes)
    assert not (tmp_path / "root").exists()


def test_nothing_is_there_before_it_is(follow: Follow) -> None:
    follower = follow()
    with pytest.raises(FailedPrecondition, match="nothing is loaded yet"):
        _ = follower.path
    assert not follower.ready
    follower.close()


def test_a_server_that_answers_for_something_else_is_not_believed(wire: WatchedWire, follow: Follow) -> None:
    other = wire.version(0, ONE)
    other.name = other.name.replace("/m/", "/other/")
    wire.move(1, other)
    assert "collections/other" in told_of(follow(), "watch")


def test_nobody_waits_for_a_version_when_the_following_was_ended(tmp_path: Path) -> None:
    def away() -> Config:
        raise ServiceUnavailable("away")

    follower = Follower("m:production", tmp_path / "root", Wish(timeout_seconds=None, config=away))
    ended: list[type[BaseException]] = []

    def enter() -> None:
        try:
            follower.__enter__()
        except DeadlineExceeded as error:
            ended.append(type(error))

    waiting = threading.Thread(target=enter, daemon=True)
    waiting.start()
    until(follower, lambda status: "watch" in status["errors"])
    follower.close()
    waiting.join(60)
    assert ended == [DeadlineExceeded]
