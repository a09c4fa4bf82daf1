"""SEM-26: every digest carries its algorithm."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelkeep.digest import EMPTY, Digest
from modelkeep.errors import InvalidArgument

from tests.vectors import load

VECTORS = load("digests.json")


def _bytes(vector: dict) -> bytes:
    if "repeat" in vector:
        pattern, times = vector["repeat"]
        return bytes.fromhex(pattern) * times
    return bytes.fromhex(vector["bytes_hex"])


@pytest.mark.parametrize("vector", VECTORS["of"], ids=lambda v: v["digest"][7:15])
def test_digest_of_bytes_is_the_golden_one(vector):
    assert str(Digest.of(_bytes(vector))) == vector["digest"]
    assert Digest.parse(vector["digest"]) == Digest.of(_bytes(vector))


@pytest.mark.parametrize("text", VECTORS["invalid"])
def test_what_is_no_digest_is_refused(text):
    with pytest.raises(InvalidArgument) as caught:
        Digest.parse(text)
    assert caught.value.metadata["field"] == "digest"


@given(st.binary(max_size=200))
def test_text_and_back(data):
    digest = Digest.of(data)
    assert Digest.parse(str(digest)) == digest
    assert digest.sha256 == hashlib.sha256(data).digest()
    assert digest.hex == hashlib.sha256(data).hexdigest()


@given(st.text())
def test_a_text_is_a_digest_or_refused_but_never_repaired(text):
    try:
        digest = Digest.parse(text)
    except InvalidArgument:
        return
    assert str(digest) == text


@pytest.mark.parametrize("size", [0, 20, 31, 33, 64])
def test_only_32_bytes_are_a_sha256(size):
    with pytest.raises(InvalidArgument, match=f"not {size}"):
        Digest(bytes(size))


def test_empty_is_the_digest_of_nothing():
    assert Digest.of(b"") == EMPTY
    assert Digest.of(memoryview(b"abc")) == Digest.of(bytearray(b"abc"))
