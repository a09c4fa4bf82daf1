"""Keys and file names: one place knows them, and what is not ours is never taken for ours."""

from __future__ import annotations

import pytest
from modelkeep.digest import Digest
from modelkeep.names import LeaseName
from modelkeep_server.blob.backends import layout
from modelkeep_server.blob.domain import Chunk, Incoming, ObjectName

DIGEST = Digest.of(b"abc")
NAME = ObjectName(DIGEST, "0123456789abcdef0123456789abcdef")
KEY = f"chunks/sha256/ba/78/{DIGEST.hex}.0123456789abcdef0123456789abcdef"
LEASE = LeaseName("a.team_-" + "x" * 120, "123e4567-e89b-42d3-a456-426614174000")


def test_the_key_of_an_object() -> None:
    assert layout.key(NAME) == KEY
    assert layout.parse(KEY) == NAME


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        KEY + "x",
        KEY[:-1],
        KEY.upper(),
        f"/{KEY}",
        f"other/{KEY}",
        KEY.replace("/ba/", "/bb/"),
        KEY.replace("/78/", "/79/"),
        KEY.replace("sha256", "md5"),
        KEY + "\n",
    ],
)
def test_a_key_that_is_not_ours(key: str) -> None:
    assert layout.parse(key) is None


def test_files_of_chunks_that_come_in() -> None:
    incoming = Incoming(LEASE, Chunk(DIGEST, 3))
    partial, complete = layout.incoming_file(incoming), layout.complete_file(incoming, "01234567")
    assert len(complete) <= 255
    assert layout.lease_of(partial) == layout.lease_of(complete) == LEASE
    assert (layout.is_complete(partial), layout.is_complete(complete)) == (False, True)


@pytest.mark.parametrize("file", ["", "x", "a~b~c", "~~", "a~123e4567~c", "../x~123e4567-e89b-42d3-a456-426614174000~c"])
def test_a_file_that_is_not_ours(file: str) -> None:
    assert layout.lease_of(file) is None
