"""Keys and signatures on the client: what is a key, and who is believed."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from modelkeep import _signature
from modelkeep._left_behind import LEFT_BEHIND_SECONDS
from modelkeep._signing import Signature, require_signature
from modelkeep.errors import FileUnreadable, InvalidArgument, NotConfigured, SignatureInvalid, SignatureMissing

DIGEST = "sha256:" + "ab" * 32
KEY = Ed25519PrivateKey.generate()
SIGNED = (
    "5d1a5413d9d19c02555cac855fdffe3bf42353b8658fc632da616f98e6025601"
    "967315d038ee0da8bcd43f4535725b0db26b971a0570d8a2c79f0d926437c805"
)


def signature(key: Ed25519PrivateKey = KEY, digest: str = DIGEST, key_id: str = "") -> Signature:
    raw, value = _signature.sign(key, digest)
    return Signature(key_id or _signature.key_id(raw), "ED25519", raw, value, "", None, "me")  # type: ignore[arg-type]


def test_the_form_of_a_signature_is_what_any_other_program_makes() -> None:
    """With the key of RFC 8032's first test. Ed25519 draws nothing, so the same key signs the same bytes alike everywhere."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    raw, value = _signature.sign(Ed25519PrivateKey.from_private_bytes(seed), DIGEST)
    assert raw.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert value.hex() == SIGNED
    assert _signature.fits(raw, value, DIGEST)
    assert _signature.key_id(raw) == "21fe31dfa154a261"


def test_a_pair_of_files_is_made_once(tmp_path: Path) -> None:
    public, key_id = _signature.create_pair(tmp_path / "k.pem")
    assert public == str(tmp_path / "k.pub.pem")
    assert stat.S_IMODE((tmp_path / "k.pem").stat().st_mode) == 0o600
    assert _signature.public_keys(public) == {_signature.sign(tmp_path / "k.pem", DIGEST)[0]: key_id}
    before = (tmp_path / "k.pem").read_bytes()
    with pytest.raises(InvalidArgument, match="never overwritten"):
        _signature.create_pair(tmp_path / "k.pem")
    assert (tmp_path / "k.pem").read_bytes() == before
    with pytest.raises(InvalidArgument, match="cannot be written"):
        _signature.create_pair(tmp_path / "nosuch" / "k.pem")


def test_of_a_pair_that_cannot_be_made_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "k.pub.pem").write_text("of somebody")
    with pytest.raises(InvalidArgument, match="is there already"):
        _signature.create_pair(tmp_path / "k.pem")
    assert [path.name for path in tmp_path.iterdir()] == ["k.pub.pem"]
    (tmp_path / "k.pub.pem").unlink()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InvalidArgument, match="No space left"):
        _signature.create_pair(tmp_path / "k.pem")
    assert list(tmp_path.iterdir()) == []


KILLED = """
    import itertools, os, signal, sys
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from modelkeep import _signature

    def dies(call):
        def counted(*args, **kwargs):
            global left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)
        return counted

    for left in itertools.count():
        os.mkdir(f"{sys.argv[1]}/{left}")
        if not os.fork():
            for name in ("open", "fdopen", "fsync", "link", "unlink"):
                setattr(os, name, dies(getattr(os, name)))
            _signature.create_pair(f"{sys.argv[1]}/{left}/k.pem")
            os._exit(0)
        if not os.wait()[1]:
            break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_wherever_it_is_killed_a_repeat_makes_the_pair(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], check=True)
    killed = sorted(tmp_path.iterdir(), key=lambda folder: int(folder.name))[:-1]
    assert any((folder / "k.pem").exists() for folder in killed)
    assert any(list(folder.glob(".k.pem.*")) for folder in killed)
    for folder in killed:
        before = _signature.sign(folder / "k.pem", DIGEST) if (folder / "k.pem").exists() else None  # it is whole
        if before is None or not (folder / "k.pub.pem").exists():
            _signature.create_pair(folder / "k.pem")
        raw, value = _signature.sign(folder / "k.pem", DIGEST)
        assert before in {None, (raw, value)}
        assert list(_signature.public_keys(folder / "k.pub.pem")) == [raw]
        assert all(stat.S_IMODE(left.stat().st_mode) == 0o600 for left in folder.glob(".k.pem.*"))


def test_what_a_kill_left_under_another_name_goes_an_hour_later(tmp_path: Path) -> None:
    names = [".k.pem.0123456789abcdef", ".k.pub.pem.0123456789abcdef", ".k.pem.backup", ".other.pem.0123456789abcdef"]
    for name in names:
        (tmp_path / name).write_text("half a key")
    _signature.create_pair(tmp_path / "k.pem")
    assert {path.name for path in tmp_path.iterdir()} == {"k.pem", "k.pub.pem", *names}
    for path in tmp_path.iterdir():
        os.utime(path, (0, time.time() - 2 * LEFT_BEHIND_SECONDS))
    (tmp_path / "k.pub.pem").unlink()
    (tmp_path / "k.pem").unlink()
    _signature.create_pair(tmp_path / "k.pem")
    assert {path.name for path in tmp_path.iterdir()} == {"k.pem", "k.pub.pem", *names[2:]}


def test_a_private_half_that_is_no_whole_key_of_ours_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "k.pem"
    whole = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for data, passphrase in ((b"", ""), (whole[:40], ""), (whole, "open sesame")):
        path.write_bytes(data)
        monkeypatch.setenv(_signature.PASSPHRASE, passphrase)
        with pytest.raises(InvalidArgument, match="never overwritten"):
            _signature.create_pair(path)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [data]


def test_on_a_disk_without_hard_links_a_pair_is_made_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    public, key_id = _signature.create_pair(tmp_path / "k.pem")
    assert list(_signature.public_keys(public).values()) == [key_id]
    assert stat.S_IMODE((tmp_path / "k.pem").stat().st_mode) == 0o600
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(InvalidArgument, match="never overwritten"):
        _signature.create_pair(tmp_path / "k.pem")


def test_a_passphrase_protects_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_signature.PASSPHRASE, "open sesame")
    _signature.create_pair(tmp_path / "k.pem")
    assert b"ENCRYPTED" in (tmp_path / "k.pem").read_bytes()
    assert _signature.sign(tmp_path / "k.pem", DIGEST)
    monkeypatch.setenv(_signature.PASSPHRASE, "other")
    with pytest.raises(InvalidArgument, match="passphrase may be another"):
        _signature.sign(tmp_path / "k.pem", DIGEST)
    monkeypatch.delenv(_signature.PASSPHRASE)
    with pytest.raises(InvalidArgument, match="has a passphrase"):
        _signature.sign(tmp_path / "k.pem", DIGEST)


def test_what_is_no_key_is_told_apart(tmp_path: Path) -> None:
    public, _ = _signature.create_pair(tmp_path / "k.pem")
    (tmp_path / "text").write_text("no key")
    curve = generate_private_key(SECP256R1())
    (tmp_path / "curve.pem").write_bytes(curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "curve.pub.pem").write_bytes(curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for name, error, word in (
        ("nosuch", FileUnreadable, "nosuch"),
        ("text", InvalidArgument, "no private key"),
        ("k.pub.pem", InvalidArgument, "no private key"),
        ("curve.pem", InvalidArgument, "no Ed25519 key"),
    ):
        with pytest.raises(error, match=word):
            _signature.sign(tmp_path / name, DIGEST)
    for name, word in (("text", "no public key"), ("k.pem", "give the public one"), ("curve.pub.pem", "expected Ed25519")):
        with pytest.raises(InvalidArgument, match=word):
            _signature.public_keys([public, tmp_path / name])
    for nothing in ([], [7], b"short"):
        with pytest.raises(InvalidArgument):
            _signature.public_keys(nothing)  # type: ignore[arg-type]


def test_a_file_may_hold_the_keys_of_a_rotation(tmp_path: Path) -> None:
    files = [Path(_signature.create_pair(tmp_path / f"{name}.pem")[0]) for name in ("old", "new")]
    (tmp_path / "both.pem").write_bytes(b"".join(file.read_bytes() for file in files))
    both = _signature.public_keys(tmp_path / "both.pem")
    assert both == _signature.public_keys(files)
    assert len(both) == 2
    assert _signature.public_keys(list(both)) == both


def test_one_signature_by_one_of_the_keys_is_enough() -> None:
    others = [signature(Ed25519PrivateKey.generate()) for _ in range(3)]
    keys = [Ed25519PrivateKey.generate().public_key(), KEY.public_key()]
    assert require_signature([*others, signature()], DIGEST, keys, "m:v0").public_key == KEY.public_key().public_bytes_raw()


def test_a_missing_signature_names_the_keys_that_did_sign() -> None:
    others = [signature(Ed25519PrivateKey.generate()) for _ in range(12)]
    with pytest.raises(SignatureMissing, match=others[0].key_id) as caught:
        require_signature(others, DIGEST, KEY.public_key(), "m:v0")
    assert caught.value.message.endswith(", …")
    assert caught.value.metadata["wanted"] == signature().key_id
    with pytest.raises(SignatureMissing, match="nobody signed it"):
        require_signature([], DIGEST, KEY.public_key(), "m:v0")


def test_nothing_that_a_server_says_of_a_signature_is_believed() -> None:
    """Not the id of its key, and not that it was checked: one that is said to be by a trusted key has to fit."""
    stranger = signature(Ed25519PrivateKey.generate(), key_id=signature().key_id)
    with pytest.raises(SignatureMissing):
        require_signature([stranger], DIGEST, KEY.public_key(), "m:v0")
    with pytest.raises(SignatureInvalid, match="do not use it"):
        require_signature([signature(digest="sha256:" + "cd" * 32)], DIGEST, KEY.public_key(), "m:v0")


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(NotConfigured, match=r"pip install 'modelkeep\[sign\]'"):
        _signature.public_keys("k.pub.pem")
