"""Encryption of what is stored: AES-GCM, bound to the place, with keys that can be changed."""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol

from memkit_core.errors import IntegrityError, MissingDependencyError, UsageError
from memkit_core.protocols import RowSigner

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SEALED, _OPEN = b"\x01", b"\x00"
_KEY_ID: Final = 4
_NONCE: Final = 12
_KEY_SIZES: Final = (16, 24, 32)
_MARK: Final = 12
_OTHER_KEY: Final = "these checkpoints are encrypted with another key: add it to encryption_key"


class MissingKeyError(UsageError):
    """What is stored is encrypted with a key that was not given."""


class Cipher(Protocol):
    """What makes stored bytes of plain ones, and plain ones of stored."""

    #: Whether stored bytes depend on where they are stored.
    binds: bool
    #: What rows are marked with, None without a key.
    signer: RowSigner | None

    def seal(self, plain: bytes, place: bytes, *, repeatable: bool = False) -> bytes:
        """The bytes to be stored in this place; ``repeatable``: equal ones for equal plain ones there."""
        ...

    def open(self, stored: bytes, place: bytes) -> bytes:
        """The plain bytes.

        Raises:
            IntegrityError: They are damaged, or belong to another place.
            MissingKeyError: They are encrypted and there is no key, or no right one.
        """
        ...


class Plain:
    """No encryption."""

    binds = False
    signer: RowSigner | None = None

    def seal(self, plain: bytes, place: bytes, *, repeatable: bool = False) -> bytes:  # noqa: ARG002 - see Cipher
        """See ``Cipher.seal``."""
        return _OPEN + plain

    def open(self, stored: bytes, place: bytes) -> bytes:  # noqa: ARG002 - see Cipher
        """See ``Cipher.open``."""
        if stored[:1] == _SEALED:
            raise MissingKeyError("these checkpoints are encrypted: pass encryption_key=…")
        if stored[:1] != _OPEN:
            raise IntegrityError("a stored piece is in no form that this memkit knows")
        return stored[1:]


class Aead:
    """AES-GCM under the first of some keys; what the others encrypted can still be read.

    Args:
        keys: Each of 16, 24 or 32 bytes.

    Raises:
        UsageError: There is none, or one has another length.
        MissingDependencyError: The extra ``encryption`` is not installed.
    """

    binds = True

    def __init__(self, keys: bytes | Sequence[bytes]) -> None:
        given = [keys] if isinstance(keys, bytes | bytearray) else list(keys)
        if not given:
            raise UsageError("encryption_key is a key, or a list of keys with the newest first")
        self._keys = [_Key(bytes(key)) for key in map(_checked, given)]
        self._by_id = {key.id: key for key in self._keys}
        self.signer: RowSigner | None = self

    def seal(self, plain: bytes, place: bytes, *, repeatable: bool = False) -> bytes:
        """See ``Cipher.seal``."""
        key = self._keys[0]
        nonce = key.nonce_for(plain, place) if repeatable else os.urandom(_NONCE)
        return _SEALED + key.id + nonce + key.cipher.encrypt(nonce, plain, place)

    def open(self, stored: bytes, place: bytes) -> bytes:
        """See ``Cipher.open``."""
        from cryptography.exceptions import InvalidTag

        if stored[:1] != _SEALED:
            raise IntegrityError("a stored piece is not encrypted, and with a key nothing else is read")
        key = self._by_id.get(stored[1 : 1 + _KEY_ID])
        if key is None:
            raise MissingKeyError(_OTHER_KEY)
        start = 1 + _KEY_ID
        try:
            return key.cipher.decrypt(stored[start : start + _NONCE], stored[start + _NONCE :], place)
        except (InvalidTag, ValueError) as error:
            raise IntegrityError("an encrypted piece is damaged, or was moved from another place") from error

    def sign(self, digest: bytes) -> bytes:
        """See ``RowSigner.sign``."""
        key = self._keys[0]
        return key.id + key.mark_of(digest)

    def check(self, digest: bytes, mark: bytes | None) -> None:
        """See ``RowSigner.check``."""
        if mark is None:
            raise IntegrityError(
                "a row of a checkpoint is not encrypted, or bears no mark of the key, and with a key nothing"
                " else is read. What was encrypted before there were marks is not: delete the thread"
            )
        key = self._by_id.get(mark[:_KEY_ID])
        if key is None:
            raise MissingKeyError(_OTHER_KEY)
        if not hmac.compare_digest(key.mark_of(digest), mark[_KEY_ID:]):
            raise IntegrityError("a row of an encrypted checkpoint was changed, or moved from another place")


class _Key:
    """A key with what is drawn from it."""

    def __init__(self, key: bytes) -> None:
        self.id = _drawn(key, b"id")[:_KEY_ID]
        self._nonces = _drawn(key, b"nonces")
        self._marks = _drawn(key, b"marks")
        self.cipher: AESGCM = _aes(_drawn(key, b"cipher"))

    def mark_of(self, digest: bytes) -> bytes:
        """What nobody without the key can make of a digest."""
        return blake2b(digest, key=self._marks, digest_size=_MARK).digest()

    def nonce_for(self, plain: bytes, place: bytes) -> bytes:
        """A nonce that only equal bytes in an equal place have."""
        state = blake2b(key=self._nonces, digest_size=_NONCE)
        state.update(b"%d:" % len(place) + place)
        state.update(plain)
        return state.digest()


def _drawn(key: bytes, purpose: bytes) -> bytes:
    return blake2b(purpose, key=key, digest_size=32, person=b"memkit-ckpt-v1").digest()


def _aes(key: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise MissingDependencyError("encryption of checkpoints", extra="encryption") from error
    return AESGCM(key)


def _checked(key: object) -> bytes:
    if not isinstance(key, bytes | bytearray) or len(key) not in _KEY_SIZES:
        raise UsageError("an encryption key is 16, 24 or 32 random bytes: os.urandom(32)")
    return bytes(key)


def cipher_of(keys: bytes | Sequence[bytes] | None) -> Cipher:
    """Encryption with these keys, or none."""
    return Plain() if keys is None else Aead(keys)


def place_of(*names: bytes | str | int | None) -> bytes:
    """A place as bytes: no two places have the same."""
    found: list[bytes] = []
    for name in names:
        data = b"" if name is None else name if isinstance(name, bytes) else str(name).encode("utf-8")
        found.append(b"%s%d:" % (b"-" if name is None else b"+", len(data)) + data)
    return b"".join(found)
