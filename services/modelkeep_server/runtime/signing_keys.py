"""The files of the signing key: a private key that metadata signs access tokens with, and the public keys that all verify with.

A rotation makes a new pair and keeps the public key before it valid too, in the same file: tokens of both are good until that
file is rotated once more. `docs/operations.md` tells in which order to hand the files out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from modelkeep_server.runtime import files
from modelkeep_server.runtime.lifecycle import CannotStart
from modelkeep_server.runtime.tokens import Signer, Verifier

_BLOCK: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\s*", re.DOTALL)
_PUBLIC_MODE: Final = 0o644


def create(private_file: Path, public_file: Path) -> None:
    """Make the first pair. Raises CannotStart when there is one, or it cannot be written."""
    private, public = _pair()
    _write(private_file, private, replace=False)
    _write(public_file, public, mode=_PUBLIC_MODE)


def ensure(private_file: Path, public_file: Path) -> None:
    """Make the pair if there is none yet, and the public key if a crash came before it was written. Raises CannotStart."""
    if not private_file.exists():
        create(private_file, public_file)
    elif not public_file.exists():
        _write(public_file, _public_of(private_file), mode=_PUBLIC_MODE)


def rotate(private_file: Path, public_file: Path) -> None:
    """Make a new pair and keep the public key before it. Raises CannotStart when there is none, or it is damaged.

    The public keys are written first: whenever this is interrupted, they include the one that belongs to the private key.
    """
    before = _public_of(private_file)
    private, public = _pair()
    _write(public_file, public + before, mode=_PUBLIC_MODE)
    _write(private_file, private)


def signer(private_file: Path, *, lifetime_seconds: int) -> Signer:
    """The signer of a private key file. Raises CannotStart when it is missing, or readable by others, or not an Ed25519 key."""
    with _reading(private_file):
        if private_file.stat().st_mode & 0o077:
            message = f"the signing key {private_file} may be read by others; make it private: chmod 600 {private_file}"
            raise CannotStart(message)
        return Signer(private_file.read_bytes(), lifetime_seconds=lifetime_seconds)


def verifier(public_files: Sequence[Path]) -> Verifier:
    """The verifier of public key files, each with one key or several. Raises CannotStart."""
    blocks: list[bytes] = []
    for path in public_files:
        try:
            found = _BLOCK.findall(path.read_bytes())
        except OSError as error:
            message = f"cannot read the public key {path}: {error.strerror}; copy it from where `signing-key init` wrote it"
            raise CannotStart(message) from error
        if not found:
            raise CannotStart(f"there is no public key (PEM) in {path}")
        blocks += found
    try:
        return Verifier(blocks)
    except (ValueError, TypeError) as error:
        raise CannotStart(f"access tokens cannot be verified: {error}") from error


def _public_of(private_file: Path) -> bytes:
    """The public key (PEM) of a private key file. Raises CannotStart."""
    with _reading(private_file):
        return Signer(private_file.read_bytes()).public_key_pem


@contextmanager
def _reading(private_file: Path) -> Iterator[None]:
    """Raises CannotStart for what goes wrong while the private key is read."""
    try:
        yield
    except OSError as error:
        message = (
            f"cannot read the signing key {private_file}: {error.strerror}; make one with `modelkeep-server signing-key init`"
        )
        raise CannotStart(message) from error
    except (ValueError, TypeError) as error:
        raise CannotStart(f"{private_file} is not an Ed25519 private key (PEM)") from error


def _write(path: Path, data: bytes, *, mode: int = files.PRIVATE, replace: bool = True) -> None:
    """Write a key file. Raises CannotStart when it cannot be written, or exists and is not to be replaced."""
    try:
        files.write(path, data, mode=mode, replace=replace)
    except OSError as error:
        if not replace and path.exists():
            raise CannotStart(f"{path} exists; `modelkeep-server signing-key rotate` replaces it") from None
        message = f"cannot write the key file {path}: {error.strerror or error}; choose another data folder with --data"
        raise CannotStart(message) from error


def _pair() -> tuple[bytes, bytes]:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
