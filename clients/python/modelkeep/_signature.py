"""What a signature signs, and the keys that make and check it.

Signed is the version digest, so nothing of the content is read again. The server uses the first lines of this file too: it
checks that a signature fits, and trusts no key.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from typing import TYPE_CHECKING, Any, Final, cast

from modelkeep._copy import sync_folder
from modelkeep._left_behind import remove_left_behind
from modelkeep.errors import FileUnreadable, InvalidArgument, NotConfigured, SignatureInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    PrivateKey = str | os.PathLike[str] | Ed25519PrivateKey
    PublicKey = str | os.PathLike[str] | bytes | Ed25519PublicKey

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
PASSPHRASE: Final = "MODELKEEP_SIGNING_PASSPHRASE"  # noqa: S105 - the name of the variable
"""The environment variable with the passphrase of a private key."""
_HEADER: Final = b"modelkeep.signature.v1\n"
_BLOCK: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


def signed_bytes(digest: str) -> bytes:
    """What is signed of a version, by its digest `sha256:<hex>`."""
    return _HEADER + digest.encode("ascii")


def key_id(public_key: bytes) -> str:
    """How people tell keys apart: the first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def sign(key: PrivateKey, digest: str) -> tuple[bytes, bytes]:
    """The raw public key, and the signature of a version digest. Raises what `private_key` raises."""
    private = private_key(key)
    return private.public_key().public_bytes_raw(), private.sign(signed_bytes(digest))


def fits(public_key: bytes, value: bytes, digest: str) -> bool:
    """Whether a signature is one of that version digest, by that key."""
    module = _ed25519()
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra

    try:
        module.Ed25519PublicKey.from_public_bytes(public_key).verify(value, signed_bytes(digest))
    except (InvalidSignature, ValueError):
        return False
    return True


def private_key(key: PrivateKey) -> Ed25519PrivateKey:
    """The private key itself, or that of a PEM file; its passphrase is in MODELKEEP_SIGNING_PASSPHRASE.

    Raises FileUnreadable, InvalidArgument, NotConfigured.
    """
    module = _ed25519()
    if isinstance(key, module.Ed25519PrivateKey):
        return key  # type: ignore[no-any-return]
    path = os.fspath(cast("str | os.PathLike[str]", key))
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - an extra

    passphrase = os.environ.get(PASSPHRASE, "").encode()
    try:
        loaded = load_pem_private_key(_read(path), passphrase or None)
    except TypeError:  # a passphrase is missing, or given for a key that has none
        why = "has no passphrase, and one is set" if passphrase else "has a passphrase"
        raise InvalidArgument(f"{path} {why}; see {PASSPHRASE}", field="key", path=path) from None
    except ValueError:
        hint = f"; its passphrase may be another than {PASSPHRASE} says" if passphrase else ""
        raise InvalidArgument(f"{path} is no private key in PEM{hint}", field="key", path=path) from None
    if not isinstance(loaded, module.Ed25519PrivateKey):
        raise InvalidArgument(f"{path} is no Ed25519 key; make one: modelkeep signing-key create", field="key", path=path)
    return loaded  # type: ignore[no-any-return]


def public_keys(keys: PublicKey | Iterable[PublicKey]) -> dict[bytes, str]:
    """The raw public keys, each with its key id: of PEM files, which may hold several, of 32 raw bytes, or of key objects.

    Raises FileUnreadable, InvalidArgument (also when there is none), NotConfigured.
    """
    module = _ed25519()
    one = isinstance(keys, str | os.PathLike | bytes | module.Ed25519PublicKey)
    many = [cast("PublicKey", keys)] if one else list(cast("Iterable[PublicKey]", keys))
    found = {raw: key_id(raw) for key in many for raw in _public(key, module)}
    if not found:
        raise InvalidArgument("no key is given that a signature could be checked with", field="key")
    return found


def _public(key: PublicKey, module: Any) -> list[bytes]:
    if isinstance(key, module.Ed25519PublicKey):
        return [key.public_bytes_raw()]
    if isinstance(key, bytes) and len(key) == KEY_BYTES:
        return [key]
    if not isinstance(key, str | os.PathLike):
        message = f"a key is the path of a PEM file, 32 raw bytes or an Ed25519PublicKey, not {type(key).__name__}"
        raise InvalidArgument(message, field="key")
    path = os.fspath(key)
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415 - an extra

    text = _read(path)
    blocks = _BLOCK.findall(text)
    try:
        loaded: list[Any] = [load_pem_public_key(block) for block in blocks]
    except ValueError:
        loaded = []
    if not loaded or not all(isinstance(one, module.Ed25519PublicKey) for one in loaded):
        secret = b"PRIVATE KEY" in text
        hint = (
            "it is a private key: give the public one, usually beside it as .pub.pem" if secret else "expected Ed25519 in PEM"
        )
        raise InvalidArgument(f"{path} is no public key; {hint}", field="key", path=path)
    return [one.public_bytes_raw() for one in loaded]


def create_pair(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Make a key: the private half at `path`, which only its owner may read, the public half beside it, as `<name>.pub.pem`.

    Each is whole when it has its name, the private half first. Of a private half that is alone, as when this was killed in
    between, the public half is made. Answers where the public half is, and the key id. Raises InvalidArgument when both are
    there, or what is there is not such a private half.
    """
    module = _ed25519()
    from cryptography.hazmat.primitives import serialization as forms  # noqa: PLC0415 - an extra

    path = os.fspath(path)
    public_path = path.removesuffix(".pem") + ".pub.pem"
    key = _private_half_alone(path, public_path)
    if key is None:
        key = module.Ed25519PrivateKey.generate()
        phrase = os.environ.get(PASSPHRASE, "").encode()
        lock = forms.BestAvailableEncryption(phrase) if phrase else forms.NoEncryption()
        _write_new(path, key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, lock), 0o600)
    public = key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
    _write_new(public_path, public, 0o644)
    return public_path, key_id(key.public_key().public_bytes_raw())


def _private_half_alone(path: str, public_path: str) -> Any:
    """The private key at `path` if its public half is not there; None if neither is. Raises InvalidArgument."""
    if not os.path.lexists(path):
        if os.path.lexists(public_path):
            raise _is_there(public_path)
        return None
    if os.path.lexists(public_path):
        raise _is_there(path)
    try:
        return private_key(path)
    except (FileUnreadable, InvalidArgument):
        raise _is_there(path) from None


def require_fit(public_key: bytes, value: bytes, digest: str, what: str) -> None:
    """Raise SignatureInvalid unless the signature fits."""
    if not fits(public_key, value, digest):
        found = key_id(public_key)
        message = f"the signature of {what} by the key {found} does not fit its digest {digest}: do not use it"
        raise SignatureInvalid(message, key_id=found, digest=digest)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError as error:
        raise FileUnreadable(f"the key {path} cannot be read: {error.strerror}", path=path) from None


def _write_new(path: str, data: bytes, mode: int) -> None:
    """Write a file that has its name when it is whole and durable. Raises InvalidArgument, also when there is one already."""
    folder, name = os.path.split(path)
    folder = folder or "."
    remove_left_behind(folder, rf"\.{re.escape(name)}\.[0-9a-f]{{16}}")
    aside = os.path.join(folder, f".{name}.{secrets.token_hex(8)}")
    try:
        _write(aside, data, mode)
        try:
            _give_name(aside, path, data, mode)
        finally:
            os.unlink(aside)
        _make_durable(folder)
    except FileExistsError:
        raise _is_there(path) from None
    except OSError as error:
        raise _unwritable(path, error) from None


def _give_name(aside: str, path: str, data: bytes, mode: int) -> None:
    """Give a file its name; nothing that has it is overwritten. Raises OSError."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # not every disk can give a file two names
        _write(path, data, mode)


def _write(path: str, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(path)
            raise


def _make_durable(folder: str) -> None:
    try:
        sync_folder(folder)
    except OSError as error:  # not every disk can do that for a folder, and not every folder may be read
        if error.errno not in {errno.EINVAL, errno.EACCES, errno.EPERM}:
            raise


def _is_there(path: str) -> InvalidArgument:
    message = f"{path} is there already, and a key is never overwritten; choose another name"
    return InvalidArgument(message, field="out", path=path)


def _unwritable(path: str, error: OSError) -> InvalidArgument:
    return InvalidArgument(f"{path} cannot be written: {error.strerror}", field="out", path=path)


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an extra
    except ImportError:
        message = "signatures need the package cryptography, which is not installed: pip install 'modelkeep[sign]'"
        raise NotConfigured(message) from None
    return ed25519
