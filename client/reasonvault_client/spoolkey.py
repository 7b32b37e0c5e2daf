"""The key that encrypts a spool.

One line of text: ``reasonvault-spool-key/1 <base64url of 32 random bytes>``. The application names a file, or one is
made with mode 0600 beside the spool's directory, not in it.

What it protects against: whoever gets the spool's directory without the key, such as a backup, a disk image or a volume
that was handed on, reads nothing; deleting the key makes what the directory ever held unreadable, also in blocks that
the file system has not overwritten. What it does not protect against: whoever runs as this user or as root on this host
reads key and spool alike. A key file on a tmpfs, or one that a secret store mounts, is better than one on the same
disk; but records that are spooled when it is lost are lost with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from pathlib import Path

from reasonvault_client import files
from reasonvault_client.errors import Misconfigured

FORMAT = b"reasonvault-spool-key/1 "


class SpoolKey:
    """32 secret bytes; a parcel's own key is derived from them and never used for another parcel."""

    __slots__ = ("_secret", "key_id")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32:
            raise Misconfigured("a spool key has 32 bytes")
        self._secret = secret
        self.key_id = self._expand(b"reasonvault-spool/1 key id")[:8]

    def parcel_key(self, salt: bytes) -> bytes:
        """Return the AES-256 key of the parcel with this random salt."""
        return self._expand(b"reasonvault-spool/1 parcel" + salt)

    def _expand(self, label: bytes) -> bytes:
        """HKDF-Expand for 32 bytes (RFC 5869 2.3)."""
        return hmac.digest(self._secret, label + b"\x01", hashlib.sha256)

    def __repr__(self) -> str:
        return f"SpoolKey({self.key_id.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a spool key is not pickled")


def load(path: Path, *, create: bool) -> SpoolKey:
    """Read a key file, or make it.

    Raises:
        Misconfigured: it is missing and must not be made, others may read it, or it is no key file.
    """
    try:
        if create and not path.exists():
            made = FORMAT + base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=") + b"\n"
            data = files.create_once(path, made)
        else:
            data = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise Misconfigured(f"cannot read the spool key {path}: {error.strerror}") from None
    if mode & 0o077:
        raise Misconfigured(f"others may read the spool key {path}: chmod 600 it")
    text = data.strip().removeprefix(FORMAT)
    try:
        secret = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        secret = b""
    if not data.startswith(FORMAT) or len(secret) != 32:
        raise Misconfigured(f"{path} is not a spool key")
    return SpoolKey(secret)
