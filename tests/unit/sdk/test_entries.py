"""Entries to messages and back, and manifests of a server that means no good (M-PATH-4)."""

from __future__ import annotations

import hashlib
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modelkeep._entries import SEGMENTS_PER_MESSAGE, EntryCheck, Spool, entry_messages, entry_of, requests
from modelkeep._pieces import SEGMENT
from modelkeep.api.metadata.v1 import entry_pb2
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.digest import EMPTY, Digest
from modelkeep.errors import DiskFull, InvalidEntry, InvalidPath, InvalidReference, ModelkeepError
from modelkeep.manifest import Entry, manifest_digest

LIMITS = pb.Capabilities(max_entries_per_message=7, max_segments_per_message=10, max_message_bytes=4000)


def messages(path: str, size: int, block: int, most: int) -> list[entry_pb2.Entry]:
    segments = b"".join(
        SEGMENT.pack(hashlib.sha256(f"{path}{at}".encode()).digest(), at % 7, min(block, size - at))
        for at in range(0, size, block)
    )
    sha256 = hashlib.sha256(path.encode()).digest() if size else EMPTY.sha256
    return list(entry_messages(path, sha256, size, executable=False, segments=segments, most_segments=most))


def file(path: str, size: int = 3) -> entry_pb2.Entry:
    (message,) = messages(path, size, 100, 100)
    return message


@given(size=st.integers(0, 5000), block=st.integers(1, 700), most=st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_the_segments_of_a_file_make_it_up(size: int, block: int, most: int) -> None:
    made = messages("a", size, block, most)
    check = EntryCheck()
    for message in made:
        check.add(message)
    check.finish()
    assert all(len(message.segments) <= most for message in made)
    assert [message.continued for message in made] == [True] * (len(made) - 1) + [False]
    assert sum(segment.length for message in made for segment in message.segments) == size
    assert sum(message.HasField("digest") for message in made) == 1


def test_a_file_of_very_many_segments_goes_in_several_messages() -> None:
    """SEM-27: 400 GB are some 400,000 segments."""
    count = 3 * SEGMENTS_PER_MESSAGE + 1
    made = messages("a", count * 10, 10, 1_000_000)
    assert [len(message.segments) for message in made] == [SEGMENTS_PER_MESSAGE] * 3 + [1]
    assert [message.continued for message in made] == [True] * 3 + [False]
    assert [message.HasField("digest") for message in made] == [True, False, False, False]
    assert max(message.ByteSize() for message in made) < 1 << 20
    assert [segment.offset for message in made for segment in message.segments] == [at % 7 for at in range(0, count * 10, 10)]


@given(sizes=st.lists(st.integers(0, 3000), max_size=60))
@settings(max_examples=100, deadline=None)
def test_requests_keep_the_limits_and_all_entries(sizes: list[int]) -> None:
    """SEM-27: nothing unbounded goes in one message."""
    entries = [message for number, size in enumerate(sizes) for message in messages(f"{number:03}", size, 100, 10)]
    made = list(requests(entries, "draft", LIMITS))
    assert [request.draft for request in made] == ["draft"] + [""] * (len(made) - 1)
    assert [entry for request in made for entry in request.entries] == entries
    for request in made:
        assert len(request.entries) <= 7
        assert sum(len(entry.segments) for entry in request.entries) <= 10
        assert request.ByteSize() <= 4000


def test_a_spool_gives_back_what_it_got_however_often_also_from_disk() -> None:
    with Spool() as spool:
        for number in range(20_000):
            spool.add(file(f"a/long/path/that/needs/some/room/{number:06}"))
        assert spool._file._rolled  # type: ignore[attr-defined]
        assert spool.entry_count == 20_000
        assert spool.file_bytes == 60_000
        assert [message.path[-6:] for message in spool] == [f"{number:06}" for number in range(20_000)]
        assert sum(1 for _ in spool) == 20_000


def test_a_spool_takes_messages_of_all_sizes_also_while_it_is_read() -> None:
    sizes = [0, 1, 70_000, 3, 300_000, *range(0, 200_000, 20_011)]
    with Spool() as spool:
        for number, size in enumerate(sizes):
            spool.add(messages(f"{number:03}", size, 10, 100_000)[0])
        reading = iter(spool)
        first = next(reading)
        spool.add(file("last"))
        assert [first.size_bytes, *(message.size_bytes for message in reading)] == [*sizes, 3]


def test_two_readers_of_a_spool_do_not_disturb_each_other() -> None:
    """When a stream of entries breaks, gRPC may still read from the old one while the next try has begun."""
    with Spool() as spool:
        for number in range(1000):
            spool.add(file(f"{number:04}"))
        old = iter(spool)
        assert [next(old).path for _ in range(10)] == [f"{number:04}" for number in range(10)]
        paths = []
        for message in spool:
            paths.append(message.path)
            next(old, None)
        assert paths == [f"{number:04}" for number in range(1000)]
    assert next(old, None) is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_the_spool_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with Spool() as spool:
        spool._file.close()
        monkeypatch.setattr(spool, "_file", Path("/dev/full").open("wb", buffering=0))
        with pytest.raises(DiskFull):
            deque(map(spool.add, map(file, map(str, range(10_000)))))


def test_the_digest_of_a_manifest_is_that_of_its_entries() -> None:
    """SEM-10."""
    made = [file("a"), file("a-b", 0), *messages("b/c", 1000, 10, 7), file("b/d")]
    check = EntryCheck()
    entries = [entry for entry in map(check.add, made) if entry is not None]
    assert [entry.path for entry in entries] == ["a", "a-b", "b/c", "b/d"]
    assert check.finish() == manifest_digest(entries)


def test_a_reference_is_read_and_checked() -> None:
    message = entry_pb2.Entry(path="ref", size_bytes=-1)
    message.digest.sha256 = EMPTY.sha256
    message.reference.uri = "s3://bucket/key"
    message.reference.change_token = "abc"
    message.reference.change_token_kind = entry_pb2.CHANGE_TOKEN_KIND_ETAG
    entry = entry_of(message)
    assert isinstance(entry, Entry)
    assert entry.size_bytes is None
    assert entry.reference is not None
    assert entry.reference.uri == "s3://bucket/key"
    EntryCheck().add(message)
    message.reference.uri = "s3://user:secret@bucket/key"
    with pytest.raises(InvalidReference):
        EntryCheck().add(message)


def checked(*sent: entry_pb2.Entry) -> None:
    check = EntryCheck()
    for message in sent:
        check.add(message)
    check.finish()


WAYS_OUT = [
    "../x", "a/../../x", "/etc/passwd", "C:/x", "a\\..\\x", "a\0b", "", ".", "a//b", "a/./b", "%2e%2e/x",
    "x" * 2000, "a/" + "y" * 300,
]  # fmt: skip


@pytest.mark.peer("M-PATH-4")
@pytest.mark.parametrize("path", WAYS_OUT)
def test_paths_that_lead_out_are_refused_before_anything_is_written(path: str) -> None:
    message = file("fine")
    message.path = path
    with pytest.raises(InvalidPath):
        checked(message)


@pytest.mark.peer("M-PATH-4")
def test_manifests_that_contradict_themselves_are_refused() -> None:
    first, *rest = messages("a", 1000, 10, 7)
    longer = file("a", 50)
    longer.size_bytes = 51
    backwards = file("a", 50)
    backwards.segments[0].length = -50
    bad: list[tuple[type[ModelkeepError], list[entry_pb2.Entry]]] = [
        (InvalidPath, [file("b"), file("a")]),
        (InvalidPath, [file("a"), file("a")]),
        (InvalidPath, [file("a"), file("a-b"), file("a/b")]),
        (InvalidEntry, [first]),
        (InvalidEntry, [first, file("b")]),
        (InvalidEntry, [first, *rest[:-2], rest[-1]]),
        (InvalidEntry, [longer]),
        (InvalidEntry, [backwards]),
        (ModelkeepError, [entry_pb2.Entry(path="no-digest")]),
    ]
    for error, sent in bad:
        with pytest.raises(error):
            checked(*sent)
    checked(first, *rest)


def test_a_digest_must_have_its_length() -> None:
    message = file("a")
    message.digest.sha256 = b"short"
    with pytest.raises(ModelkeepError):
        checked(message)
    message = file("a")
    message.segments[0].chunk.sha256 = Digest.of(b"").sha256[:31]
    with pytest.raises(InvalidEntry):
        checked(message)
