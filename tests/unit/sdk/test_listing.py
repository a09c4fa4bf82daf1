"""The list of the files of a version, taken in once and read in parts."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from modelkeep._cache import Cache
from modelkeep._channel import Connection
from modelkeep._download import manifest_of
from modelkeep._entries import entry_messages
from modelkeep._listing import Listing
from modelkeep._pieces import SEGMENT
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import DigestMismatch
from modelkeep.names import VersionName

NAME = hashlib.sha256(b"a version").hexdigest() + "-uid"
SEGMENTS = 10


def responses(paths: list[str], entries_each: int) -> Iterator[pb.StreamEntriesResponse]:
    """Files of many segments, two in a message, some messages in a response."""
    segments = b"".join(SEGMENT.pack(bytes([number]) * 32, 0, 1) for number in range(SEGMENTS))
    messages = (
        message
        for path in paths
        for message in entry_messages(path, b"d" * 32, SEGMENTS, executable=False, segments=segments, most_segments=2)
    )
    while some := list(itertools.islice(messages, entries_each)):
        yield pb.StreamEntriesResponse(entries=some)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 1 << 30)


@pytest.mark.parametrize("entries_each", [1, 2, 3, 5, 7, 100])
@pytest.mark.parametrize("prefix", ["a", "big", "dir", "dir/b", "z"])
def test_a_part_is_whole_however_its_messages_came(cache: Cache, prefix: str, entries_each: int) -> None:
    paths = ["a", "big", "big-one", "dir/a", "dir/b", "dir/c", "e", "z"]
    with Listing.of(responses(paths, entries_each)) as whole:
        whole.keep(cache, NAME)
    wanted = [path for path in paths if path == prefix or path.startswith(f"{prefix}/")]
    part = Listing.cached(cache, NAME, prefix)
    assert part is not None
    with part:
        found = [message.path for message in part if message.HasField("digest")]
        segments = sum(len(message.segments) for message in part)
        assert (part.entry_count, found, segments) == (len(wanted), wanted, SEGMENTS * len(wanted))


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="this system has no files without a name")
def test_a_long_list_that_is_taken_in_never_has_a_name(tmp_path: Path) -> None:
    """So a process that is killed leaves none, wherever that comes."""
    script = (
        "import os, signal, tempfile; from modelkeep._listing import Listing\n"
        "from tests.unit.sdk.test_listing import responses\n"
        "tempfile.gettempdir()  # it tries the folder with a file of its own\n"
        "os.unlink = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "paths = [f'{number:07}' + 'x' * 500 for number in range(1000)]\n"
        "with Listing.of(responses(paths, 100)) as listing:\n"
        "    assert isinstance(listing._file, int) and sum(1 for _ in listing) > len(paths)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_what_a_server_says_leads_to_no_file_outside_the_cache(connection: Connection, cache: Cache, tmp_path: Path) -> None:
    (cache.folder / "manifests").mkdir()
    (tmp_path / "my-models").mkdir()
    precious = tmp_path / "my-models" / "precious"
    precious.write_bytes(b"precious")
    with pytest.raises(DigestMismatch):
        manifest_of(
            connection,
            VersionName("t", "p", "digits", 0),
            "sha256:../my",
            uid="models/precious",
            cache=cache,
        )
    assert precious.read_bytes() == b"precious"
