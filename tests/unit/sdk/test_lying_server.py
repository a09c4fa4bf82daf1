"""A server that lies, and a client that has the key of somebody it trusts: no byte of another content ever counts.

The signature is over the version digest, so the client computes that digest itself, from the list of files it was sent, and
then holds each file to the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from modelkeep._version import Version
from modelkeep.api.metadata.v1 import version_pb2
from modelkeep.errors import ChunkCorrupt, DigestMismatch, InvalidEntry, SignatureInvalid, SignatureMissing

from tests.contract.sdk import read
from tests.unit.sdk.watched import WatchedWire

GOOD = {"a/model": b"good weights", "b": b"b" * 100}
KEY = Ed25519PrivateKey.generate()
TRUSTED = [KEY.public_key()]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[WatchedWire]:
    monkeypatch.setenv("MODELKEEP_CACHE_BYTES", "0")
    with WatchedWire().running() as running:
        yield running


@pytest.fixture
def signed(wire: WatchedWire) -> version_pb2.Version:
    """A good version with a good signature."""
    message = wire.version(0, GOOD)
    wire.sign(message, KEY)
    message.verified_time.GetCurrentTime()  # a server may say so
    return message


def version(wire: WatchedWire, message: version_pb2.Version) -> Version:
    return Version.from_pb(message, wire.connection())


@pytest.mark.parametrize("path", ["", "a", "a/model"])
def test_what_is_signed_comes(wire: WatchedWire, signed: version_pb2.Version, tmp_path: Path, path: str) -> None:
    version(wire, signed).download(tmp_path / "out", path=path, require_signature=TRUSTED)
    assert read(tmp_path / "out") == {name: data for name, data in GOOD.items() if name.startswith(path)}


@pytest.mark.parametrize("path", ["", "a"])
def test_another_list_of_files_under_the_signed_digest(
    wire: WatchedWire, signed: version_pb2.Version, tmp_path: Path, path: str
) -> None:
    """Also where only a part is asked for, whose own list no digest would speak for."""
    wire.metadata.manifests[signed.name][0] = wire.entry("a/model", b"evil weights", b"evil weights")
    with pytest.raises(DigestMismatch):
        version(wire, signed).download(tmp_path / "out", path=path, require_signature=TRUSTED)
    assert not (tmp_path / "out").exists(), "nothing is written before the list is known to be the signed one"


def test_other_bytes_under_the_signed_list_of_files(wire: WatchedWire, signed: version_pb2.Version, tmp_path: Path) -> None:
    """Segments are no part of the version digest, and the server says that it verified the files: the client hashes them."""
    wire.metadata.manifests[signed.name][0] = wire.entry("a/model", b"good weights", b"evil weights")
    with pytest.raises((DigestMismatch, ChunkCorrupt)):
        version(wire, signed).download(tmp_path / "out", require_signature=TRUSTED)
    assert "a/model" not in read(tmp_path / "out")


def test_other_bytes_in_several_chunks(wire: WatchedWire, signed: version_pb2.Version, tmp_path: Path) -> None:
    entry = wire.entry("b", GOOD["b"], b"x" * 50)
    entry.segments.add(length=50).chunk.sha256 = entry.segments[0].chunk.sha256
    wire.metadata.manifests[signed.name][1] = entry
    with pytest.raises((DigestMismatch, ChunkCorrupt)):
        version(wire, signed).checkout(tmp_path / "out", require_signature=TRUSTED)
    assert "b" not in read(tmp_path / "out")


def test_a_list_that_does_not_add_up(wire: WatchedWire, signed: version_pb2.Version, tmp_path: Path) -> None:
    wire.metadata.manifests[signed.name][0] = wire.entry("a/model", b"good weights", b"evil")
    with pytest.raises((InvalidEntry, DigestMismatch)):
        version(wire, signed).download(tmp_path / "out", require_signature=TRUSTED)


def test_the_digest_of_another_version(wire: WatchedWire, signed: version_pb2.Version, tmp_path: Path) -> None:
    """The signature is good, and is about something else."""
    evil = wire.version(1, GOOD | {"b": b"evil"})
    wire.metadata.signatures[evil.name] = wire.metadata.signatures[signed.name]
    with pytest.raises(SignatureInvalid):
        version(wire, evil).download(tmp_path / "out", require_signature=TRUSTED)
    evil.digest = signed.digest
    with pytest.raises(DigestMismatch):
        version(wire, evil).download(tmp_path / "out", require_signature=TRUSTED)
    assert not (tmp_path / "out").exists()


def test_a_signature_that_is_kept_back(wire: WatchedWire, signed: version_pb2.Version, tmp_path: Path) -> None:
    wire.metadata.signatures.clear()
    wire.sign(signed, Ed25519PrivateKey.generate())
    with pytest.raises(SignatureMissing):
        version(wire, signed).download(tmp_path / "out", require_signature=TRUSTED)
    assert wire.calls.count("StreamEntries") == 0
    assert not (tmp_path / "out").exists()


def test_a_signature_alone_costs_two_small_calls(wire: WatchedWire, signed: version_pb2.Version) -> None:
    """Verified from the version digest: no list, and no content."""
    assert version(wire, signed).verify_signature(TRUSTED).public_key == TRUSTED[0].public_bytes_raw()
    assert {method for method, _, _ in wire.calls.seen} == {"ExchangeApiKey", "ListSignatures"}
