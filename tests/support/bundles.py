"""Evidence bundles for tests: made, taken apart, changed, and put together again, signed or not.

files = unpacked(path)                 name -> content, in the order of the zip
resigned(vault, files)                 the manifest made again and signed, as a vault that lies would
packed(files, path)
"""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reports.bundle.make import Issued, make_bundle
from reports.bundle.scope import Scope
from vault import ledgers
from vault.context import Vault
from vault.core.note import sign
from vault.core.tree import leaf_hash, root

PURPOSE = "yearly audit 4711"
Files = dict[str, bytes]
WHOLE = Scope()


def make(vault: Vault, out: Path, scope: Scope = WHOLE, *, name: str = "cn", full: bool = True, **more: Any) -> Issued:
    """Make a bundle, in this process alone."""
    return make_bundle(vault, ledgers.get(vault, name), scope, PURPOSE, out, full=full, processes=1, **more)


def unpacked(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(files: Files, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def named(files: Files, ending: str) -> str:
    """Return the one file whose name ends so; of the subject ledger's where both have it."""
    return next(name for name in files if name.endswith(ending))


def manifest(files: Files) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files["manifest.json"])
    return found


def remade(files: Files, signed: Callable[[str], str], change: Callable[[dict[str, Any]], None] | None = None) -> Files:
    """Return the files under a manifest that is made again, and signed."""
    said = manifest(files)
    others = {name: content for name, content in files.items() if not name.startswith("manifest.")}
    said["files"] = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in others.items()
    ]
    if change is not None:
        change(said)
    content = json.dumps(said).encode()
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    note = signed(f"reasonvault-bundle/1\n{digest}\n")
    return {**others, "manifest.json": content, "manifest.note": note.encode()}


def resigned(vault: Vault, files: Files, change: Callable[[dict[str, Any]], None] | None = None) -> Files:
    """The same, by the vault's own key: what a vault that lies can do."""
    return remade(files, lambda text: vault.checkpoints.attest(vault.events, text), change)


def lines(files: Files, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files[name].splitlines()]


def spelled(rows: list[dict[str, Any]]) -> bytes:
    """JSON lines; leaves come out in their canonical form."""
    return b"".join(json.dumps(row, sort_keys=True, separators=(",", ":")).encode() + b"\n" for row in rows)


def rechained(rows: list[dict[str, Any]]) -> tuple[bytes, bytes]:
    """Return all leaves of a ledger, each naming the one before it, and their root: sound in itself."""
    before, hashes, made = b"", [], []
    for row in rows:
        if before:
            row["prev"] = base64.urlsafe_b64encode(before).rstrip(b"=").decode()
        line = json.dumps(row, sort_keys=True, separators=(",", ":")).encode()
        before = leaf_hash(line)
        hashes.append(before)
        made.append(line + b"\n")
    return b"".join(made), root(hashes)


def note_by(name: str, text: str, private: Any) -> str:
    """A note by any Ed25519 key."""
    return sign(text, name, private.sign, private.public_key().public_bytes_raw())
