"""Where things stand in a key directory.

    <directory>/                      0700
        manifest                      sealed; its clear header names the live generation. Replacing it is
        every commit lock                          flock of the one writer
        generation-<32 hex digits>/   0700
            passphrase.slot           opens this generation's root
            recovery-<64 hex>.slot    the same, one for each recovery file that somebody holds
            <key reference>.key       one sealed key

Names that start with a dot are files on their way to their name; a crash may leave one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vault.keys import disk
from vault.keys.provider import KeyRef

PASSPHRASE_SLOT = "passphrase.slot"  # noqa: S105 - a file name
_GENERATION = re.compile(r"generation-([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below one key directory."""

    path: Path

    @property
    def manifest(self) -> Path:
        return self.path / "manifest"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    def generation(self, generation: bytes) -> Path:
        return self.path / f"generation-{generation.hex()}"

    def passphrase_slot(self, generation: bytes) -> Path:
        return self.generation(generation) / PASSPHRASE_SLOT

    def recovery_slot(self, generation: bytes, public: bytes) -> Path:
        return self.generation(generation) / recovery_slot_name(public)

    def key(self, generation: bytes, ref: KeyRef) -> Path:
        return self.generation(generation) / key_name(ref)

    def strangers(self, generation: bytes | None) -> list[Path]:
        """Everything but the store's own files and the given generation. It may be a copy of keys."""
        ours = {self.manifest.name, f".{self.manifest.name}.tmp", self.lock.name}
        if generation is not None:
            ours.add(self.generation(generation).name)
        return [self.path / name for name in disk.names(self.path) if name not in ours]


def key_name(ref: KeyRef) -> str:
    return f"{ref}.key"


def recovery_slot_name(public: bytes) -> str:
    return f"recovery-{public.hex()}.slot"


def keyless_generation(path: Path) -> bytes | None:
    """The id of a generation without keys, such as a crashed ``create`` leaves; ``None`` for the rest."""
    found = _GENERATION.fullmatch(path.name)
    if found is None or any(name.endswith(".key") for name in disk.names(path)):
        return None
    return bytes.fromhex(found[1])
