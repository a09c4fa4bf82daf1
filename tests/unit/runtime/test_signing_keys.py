"""The files of the signing key."""

from pathlib import Path

import pytest
from modelkeep_server.runtime import signing_keys
from modelkeep_server.runtime.lifecycle import CannotStart
from modelkeep_server.runtime.tokens import Claims

CLAIMS = Claims("services/x", is_service=True)


@pytest.fixture
def private(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "signing-key.pem"


@pytest.fixture
def public(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "signing-key.pub.pem"


def token(private: Path) -> str:
    return signing_keys.signer(private, lifetime_seconds=60).sign(CLAIMS)


def test_the_private_key_is_private_and_the_public_one_verifies(private, public):
    signing_keys.create(private, public)
    assert private.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in public.read_bytes()
    assert signing_keys.verifier([public]).verify(token(private)) == CLAIMS
    assert sorted(file.name for file in private.parent.iterdir()) == ["signing-key.pem", "signing-key.pub.pem"]


def test_a_pair_that_exists_is_never_overwritten(private, public):
    signing_keys.create(private, public)
    before = private.read_bytes()
    with pytest.raises(CannotStart, match="exists; `modelkeep-server signing-key rotate` replaces it"):
        signing_keys.create(private, public)
    signing_keys.ensure(private, public)
    assert private.read_bytes() == before


def test_a_crash_between_the_two_files_heals(private, public):
    signing_keys.create(private, public)
    public.unlink()
    signing_keys.ensure(private, public)
    assert signing_keys.verifier([public]).verify(token(private)) == CLAIMS


def test_a_rotation_keeps_the_key_before_it_and_no_older_one(private, public):
    signing_keys.create(private, public)
    tokens = [token(private)]
    for _ in range(2):
        signing_keys.rotate(private, public)
        tokens.append(token(private))
    verifier = signing_keys.verifier([public])
    assert [verifier.verify(each) for each in tokens[1:]] == [CLAIMS] * 2
    with pytest.raises(Exception, match="does not know"):
        verifier.verify(tokens[0])
    assert private.stat().st_mode & 0o777 == 0o600


def test_an_interrupted_rotation_leaves_a_pair_that_works(private, public, monkeypatch):
    signing_keys.create(private, public)
    write = signing_keys.files.write

    def until_the_private_key(path: Path, *args: object, **kwargs: object) -> None:
        if path == private:
            raise OSError("killed")
        write(path, *args, **kwargs)

    monkeypatch.setattr(signing_keys.files, "write", until_the_private_key)
    with pytest.raises(CannotStart, match="killed"):
        signing_keys.rotate(private, public)
    assert signing_keys.verifier([public]).verify(token(private)) == CLAIMS


def test_what_is_missing_or_wrong_says_what_to_do(private, public, tmp_path):
    with pytest.raises(CannotStart, match="signing-key init"):
        signing_keys.rotate(private, public)
    with pytest.raises(CannotStart, match="signing-key init"):
        signing_keys.signer(private, lifetime_seconds=60)
    with pytest.raises(CannotStart, match="signing-key init"):
        signing_keys.verifier([public])
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing here")
    empty.chmod(0o600)
    with pytest.raises(CannotStart, match="no public key"):
        signing_keys.verifier([empty])
    with pytest.raises(CannotStart, match="not an Ed25519"):
        signing_keys.signer(empty, lifetime_seconds=60)
    with pytest.raises(CannotStart, match="not an Ed25519"):
        signing_keys.rotate(empty, public)
    with pytest.raises(CannotStart, match="not an Ed25519"):
        signing_keys.ensure(empty, public)
    with pytest.raises(CannotStart, match=r"empty\.pem.*: (File exists|Not a directory); .*--data"):
        signing_keys.create(empty / "signing-key.pem", public)


def test_a_private_key_that_others_may_read_is_refused(private, public):
    signing_keys.create(private, public)
    private.chmod(0o640)
    with pytest.raises(CannotStart, match="chmod 600"):
        signing_keys.signer(private, lifetime_seconds=60)
