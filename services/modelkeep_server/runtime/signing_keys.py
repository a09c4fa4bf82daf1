"""The files of the signing key: a private key that metadata signs access tokens with, and the public keys that all verify with.

A rotation makes a new pair and keeps the public key before it valid too, in the same file: tokens of both are good until that
file is rotated once more. `docs/operations.md` tells in which order to hand the files out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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
    """Make the first pair. Raises FileExistsError when there is one."""
    private, public = _pair()
    files.write(private_file, private, replace=False)
    files.write(public_file, public, mode=_PUBLIC_MODE)


def ensure(private_file: Path, public_file: Path) -> None:
    """Make the pair if there is none yet, and the public key if a crash came before it was written."""
    if not private_file.exists():
        create(private_file, public_file)
    elif not public_file.exists():
        files.write(public_file, public_of(private_file.read_bytes()), mode=_PUBLIC_MODE)


def rotate(private_file: Path, public_file: Path) -> None:
    """Make a new pair and keep the public key before it. Raises FileNotFoundError when there is none.

    The public keys are written first: whenever this is interrupted, they include the one that belongs to the private key.
    """
    before = public_of(private_file.read_bytes())
    private, public = _pair()
    files.write(public_file, public + before, mode=_PUBLIC_MODE)
    files.write(private_file, private)


def signer(private_file: Path, *, lifetime_seconds: int) -> Signer:
    """The signer of a private key file. Raises CannotStart when it is missing, or readable by others, or not an Ed25519 key."""
    try:
        if private_file.stat().st_mode & 0o077:
            message = f"the signing key {private_file} may be read by others; make it private: chmod 600 {private_file}"
            raise CannotStart(message)
        return Signer(private_file.read_bytes(), lifetime_seconds=lifetime_seconds)
    except OSError as error:
        message = (
            f"cannot read the signing key {private_file}: {error.strerror}; make one with `modelkeep-server signing-key init`"
        )
        raise CannotStart(message) from error
    except (ValueError, TypeError) as error:
        raise CannotStart(f"{private_file} is not an Ed25519 private key (PEM)") from error


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


def public_of(private: bytes) -> bytes:
    """The public key (PEM) of a private one. Raises ValueError or TypeError when it is not an Ed25519 key."""
    return Signer(private).public_key_pem


def _pair() -> tuple[bytes, bytes]:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
