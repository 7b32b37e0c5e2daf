#!/usr/bin/env python3
"""Check the files in tests/vectors without the program that they test.

Written from the public formats alone (RFC 6962; C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof;
RFC 8032) with the standard library and `cryptography`. It never imports anything of ours: two programs that share a
mistake agree. So it goes other ways where it can: recursive proofs instead of bit counts, doubling a point instead of
an equation.

    python scripts/check_vectors.py [FILE.json ...]      default: all of tests/vectors

Exit 0: every case came out as its file says. Exit 1: a line on standard error for each that did not, and for each
file without a check. A check takes the decoded JSON and yields (case, fault), the fault empty for a case that is right.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

Outcome: TypeAlias = tuple[str, str]
Key: TypeAlias = tuple[str, bytes, bytes]  # name, key id, public key


class Malformed(Exception):
    """The bytes are not of the format."""


class Untrue(Exception):
    """The bytes are of the format, and what they say does not hold."""


def check_inclusion(data: Any) -> Iterator[Outcome]:
    """rfc6962-inclusion.json: `wantErr` says which must fail."""
    for case in data["cases"]:
        leaf, root = base64.b64decode(case["leafHash"]), base64.b64decode(case["root"])
        path = [base64.b64decode(text) for text in case["proof"] or []]
        found = holds(included, case["leafIdx"], case["treeSize"], leaf, path, root)
        yield case["name"], "" if found != case["wantErr"] else "proved" if found else "not proved"


def check_consistency(data: Any) -> Iterator[Outcome]:
    """rfc6962-consistency.json: `wantErr` says which must fail."""
    for case in data["cases"]:
        root1, root2 = base64.b64decode(case["root1"]), base64.b64decode(case["root2"])
        path = [base64.b64decode(text) for text in case["proof"] or []]
        found = holds(consistent, case["size1"], case["size2"], root1, root2, path)
        yield case["name"], "" if found != case["wantErr"] else "proved" if found else "not proved"


def check_roots(data: Any) -> Iterator[Outcome]:
    """rfc6962-known-roots.json: the classical tree of eight leaves."""
    leaves = [leaf_hash(bytes.fromhex(text)) for text in data["leaf_inputs_hex"]]
    yield "empty root", differs(tree_hash([]).hex(), data["empty_root"])
    for size, expected in enumerate(data["root_hashes_by_size"]):
        yield f"root of {size} leaves", differs(tree_hash(leaves[:size]).hex(), expected)
    for level, row in enumerate(data["node_hashes_level_index"]):
        for index, expected in enumerate(row):
            below = leaves[index << level : (index + 1) << level]
            yield f"node {level}/{index}", differs(tree_hash(below).hex(), expected)
    for example in data["hash_examples"]:
        if example["op"] == "leaf":
            digest = leaf_hash(example["in_ascii"].encode())
        else:
            digest = node_hash(example["left_ascii"].encode(), example["right_ascii"].encode())
        yield f"{example['op']} hash", differs(digest.hex(), example["out"])


def check_notes(data: Any) -> Iterator[Outcome]:
    """signed-notes.json: published notes and keys, good and bad."""
    for case in data["valid"]:
        key = read_vkey(case["vkey"])
        yield case["source"], "" if holds(open_note, case["note"], [key]) else "does not open"
        for place in range(len(case["note"]) - 1):
            damaged = case["note"][:place] + chr(ord(case["note"][place]) ^ 1) + case["note"][place + 1 :]
            yield f"{case['source']}, damaged at {place}", "opens" if holds(open_note, damaged, [key]) else ""
        if "skey" in case:
            private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(case["skey"].split("+", 4)[4])[1:])
            text, _ = split_note(case["note"])
            line = base64.b64encode(key[1] + private.sign(text.encode())).decode()
            signed = f"{text}\n\u2014 {key[0]} {line}\n"
            yield f"{case['source']}, signed again", differs(signed, case["note"])
    for vkey in data["bad_vkeys"]:
        yield vkey, "accepted" if holds(read_vkey, vkey) else ""
    for case in data["cosignature_v1"]:
        for vkey in case["works_vkeys"]:
            kind = 4 if base64.b64decode(vkey.split("+", 2)[2])[0] == 4 else 1
            yield vkey, "" if holds(read_vkey, vkey, kind) else "refused"
        cosignature = base64.b64decode(case["sig_b64"])
        stamp = struct.unpack(">Q", cosignature[4:12])[0] if len(cosignature) == 4 + 8 + 64 else None
        yield f"{case['source']}, time", differs(str(stamp), str(case["timestamp"]))
        short = len(base64.b64decode(case["not_a_cosig_b64"])) < 4 + 8 + 64
        yield f"{case['source']}, no cosignature", "" if short else "has room for a time"
    shapes = data["unverifiable_example_shapes"]
    text, lines = split_note(shapes["checkpoint"])
    read_checkpoint(text)
    yield shapes["source"], differs(str([len(line[2]) for line in lines]), "[64, 72]")


def check_proofs(data: Any) -> Iterator[Outcome]:
    """proof.json: proof files with their leaf and keys; `verdict` is valid, malformed or false."""
    for case in data["cases"]:
        keys = [read_vkey(text) for text in case["keys"]]
        found, size, root = "valid", None, b""
        try:
            size, root = open_proof(case["text"], base64.b64decode(case["leaf_b64"]), keys, case["origin"])
        except Malformed:
            found = "malformed"
        except Untrue:
            found = "false"
        fault = differs(found, case["verdict"])
        if not fault and found == "valid":
            fault = differs(f"{size} {base64.b64encode(root).decode()}", f"{case['size']} {case['root_b64']}")
        yield case["name"], fault
    for key in data["keys"]:
        public = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key["seed_hex"])).public_key()
        yield (
            f"key of {key['who']}",
            differs(read_vkey(key["vkey"])[2].hex(), public.public_bytes_raw().hex()),
        )
    for case in data["refused_vkeys"]:
        yield f"key: {case['name']}", "accepted" if holds(read_vkey, case["vkey"]) else ""


def check_cosignatures(data: Any) -> Iterator[Outcome]:
    """cosignature.json: `verdict` is valid (with who cosigned when), malformed or false."""
    for case in data["cases"]:
        keys = [read_vkey(text, 4) for text in case["keys"]]
        found, times = "valid", {}
        try:
            times = read_cosignatures(case["note"], keys)
        except (Malformed, Untrue):
            found = "refused"
        fault = differs(found, "valid" if case["verdict"] == "valid" else "refused")
        yield case["name"], fault or differs(str(times), str(case["times"]))
    for key in data["keys"]:
        public = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key["seed_hex"])).public_key()
        yield f"key of {key['who']}", differs(read_vkey(key["vkey"], 4)[2].hex(), public.public_bytes_raw().hex())
    for case in data["refused_vkeys"]:
        yield f"key: {case['name']}", "accepted" if holds(read_vkey, case["vkey"], 4) else ""


CHECKS: dict[str, Callable[[Any], Iterator[Outcome]]] = {
    "cosignature.json": check_cosignatures,
    "rfc6962-inclusion.json": check_inclusion,
    "rfc6962-consistency.json": check_consistency,
    "rfc6962-known-roots.json": check_roots,
    "signed-notes.json": check_notes,
    "proof.json": check_proofs,
}

# Files that this program does not read, with the reason. A file that nobody knows is a fault.
NOT_HERE = {
    "example-v1.json": "our own formats: scripts/check_formats.py",
    "negative-v1.json": "our own formats: scripts/check_formats.py",
    "retention-dates.json": "dates by law, no bytes that a stranger must read; the rules' own tests check them",
}


def main(arguments: list[str]) -> int:
    """Check the named files, or all; the exit code."""
    home = Path(__file__).resolve().parent.parent / "tests" / "vectors"
    present = {file.name for file in home.glob("*.json")} - NOT_HERE.keys()
    files = [Path(name) for name in arguments] or [home / name for name in sorted(present | CHECKS.keys())]
    faults = 0
    for file in files:
        cases = 0
        for name, fault in outcomes(file):
            cases += 1
            if fault:
                faults += 1
                print(f"{file.name}: {name}: {fault}", file=sys.stderr)
        print(f"{file.name}: {cases} cases")
    return 1 if faults else 0


def outcomes(file: Path) -> Iterator[Outcome]:
    """The outcomes of one file; what its check did not expect is the last of them."""
    check = CHECKS.get(file.name)
    if check is None:
        yield "the file", "there is no check for it in CHECKS"
        return
    name = "the file"
    count = 0
    try:
        for name, fault in check(json.loads(file.read_text(encoding="utf-8"))):
            count += 1
            yield name, fault
    except Exception as error:  # a broken case must be named, whatever it broke
        yield f"after {name}", f"{type(error).__name__}: {error}"
    if not count:
        yield "the file", "has no cases"


def holds(verify: Callable[..., Any], *arguments: Any) -> bool:
    try:
        verify(*arguments)
    except (Malformed, Untrue):
        return False
    return True


def differs(found: str, expected: str) -> str:
    return "" if found == expected else f"found {found!r}, expected {expected!r}"


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def split_of(size: int) -> int:
    k = 1
    while 2 * k < size:
        k *= 2
    return k


def tree_hash(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split_of(len(leaves))
    return node_hash(tree_hash(leaves[:k]), tree_hash(leaves[k:]))


def included(index: int, size: int, leaf: bytes, path: list[bytes], root: bytes) -> None:
    """PATH read backwards: its last hash is the outermost."""
    if not 0 <= index < size:
        raise Untrue("index outside the tree")
    check_lengths(leaf, root, *path)
    rest = list(path)

    def fold(m: int, n: int) -> bytes:
        if n == 1:
            return leaf
        k, outer = split_of(n), take_last(rest)
        return node_hash(fold(m, k), outer) if m < k else node_hash(outer, fold(m - k, n - k))

    if fold(index, size) != root or rest:
        raise Untrue("another root, or hashes to spare")


def consistent(size1: int, size2: int, root1: bytes, root2: bytes, path: list[bytes]) -> None:
    """PROOF read backwards: each step knows the old and the new hash of its subtree."""
    if not 0 < size1 <= size2:
        raise Untrue("nothing to compare")
    if size1 == size2:
        if path or root1 != root2:
            raise Untrue("equal sizes need equal roots and no hashes")
        return
    check_lengths(root1, root2, *path)
    rest = list(path)

    def fold(m: int, n: int, whole: bool) -> tuple[bytes, bytes]:
        if m == n:
            known = root1 if whole else take_last(rest)
            return known, known
        k, outer = split_of(n), take_last(rest)
        if m <= k:
            old, new = fold(m, k, whole)
            return old, node_hash(new, outer)
        old, new = fold(m - k, n - k, False)
        return node_hash(outer, old), node_hash(outer, new)

    if fold(size1, size2, True) != (root1, root2) or rest:
        raise Untrue("other roots, or hashes to spare")


def take_last(hashes: list[bytes]) -> bytes:
    if not hashes:
        raise Untrue("too few hashes")
    return hashes.pop()


def check_lengths(*hashes: bytes) -> None:
    if any(len(digest) != 32 for digest in hashes):
        raise Untrue("a hash is not 32 bytes")


def base64_bytes(text: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Malformed("base64") from None
    if base64.b64encode(data).decode() != text:
        raise Malformed("base64 in a second spelling")
    return data


def decimal(text: str) -> int:
    if not re.fullmatch("0|[1-9][0-9]*", text) or len(text) > 19 or int(text) >= 2**63:
        raise Malformed("number")
    return int(text)


def check_name(name: str) -> None:
    if not name or re.search(r"[\s+\x00-\x1f]", name):
        raise Malformed("name")


def read_vkey(text: str, kind: int = 1) -> Key:
    parts = text.split("+", 2)
    if len(parts) != 3 or not re.fullmatch("[0-9a-f]{8}", parts[1]):
        raise Malformed("verifier key")
    check_name(parts[0])
    data = base64_bytes(parts[2])
    if len(data) != 33 or data[0] != kind:
        raise Malformed("type or length of the key")
    key_id = hashlib.sha256(parts[0].encode() + b"\x0a" + data).digest()[:4]
    if key_id.hex() != parts[1]:
        raise Malformed("key id")
    check_order(data[1:])
    return parts[0], key_id, data[1:]


def split_note(note: str) -> tuple[str, list[Key]]:
    """The text and the signature lines as (name, key id, signature)."""
    if any(ord(char) < 0x20 and char != "\n" for char in note):
        raise Malformed("control character")
    at = note.rfind("\n\n")
    if at < 0 or not note.endswith("\n") or at + 2 == len(note):
        raise Malformed("no text, blank line and signatures")
    lines = []
    for line in note[at + 2 : -1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014":
            raise Malformed("signature line")
        check_name(parts[1])
        data = base64_bytes(parts[2])
        if len(data) < 5:
            raise Malformed("signature")
        lines.append((parts[1], data[:4], data[4:]))
    return note[: at + 1], lines


def open_note(note: str, keys: list[Key]) -> str:
    text, lines = split_note(note)
    verified = 0
    for name, key_id, signature in lines:
        for public in [key[2] for key in keys if key[:2] == (name, key_id)]:
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signature, text.encode())
            except InvalidSignature:
                raise Untrue("signature") from None
            verified += 1
    if not verified:
        raise Untrue("no known key has signed")
    return text


def read_cosignatures(note: str, keys: list[Key]) -> dict[str, int]:
    """C2SP tlog-cosignature, v1: when each known witness cosigned."""
    text, lines = split_note(note)
    times: dict[str, int] = {}
    for name, key_id, signature in lines:
        for public in [key[2] for key in keys if key[:2] == (name, key_id)]:
            if len(signature) != 72 or signature[0] >= 128:
                raise Untrue("no cosignature")
            (at,) = struct.unpack(">Q", signature[:8])
            said = b"cosignature/v1\ntime %d\n" % at + text.encode()
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signature[8:], said)
            except InvalidSignature:
                raise Untrue("cosignature") from None
            times.setdefault(name, at)
    return times


def read_checkpoint(text: str) -> tuple[str, int, bytes]:
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise Malformed("not three lines")
    check_name(lines[0])
    size, root = decimal(lines[1]), base64_bytes(lines[2])
    if len(root) != 32 or (size == 0 and root != tree_hash([])):
        raise Malformed("root")
    return lines[0], size, root


def open_proof(text: str, leaf: bytes, keys: list[Key], origin: str) -> tuple[int, bytes]:
    """The size and root of the checkpoint that vouches for the leaf."""
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise Malformed("first line")
    if lines and lines[0].startswith("extra ") and not base64_bytes(lines.pop(0)[6:]):
        raise Malformed("empty extra")
    if not lines or not lines[0].startswith("index "):
        raise Malformed("no index")
    index = decimal(lines.pop(0)[6:])
    path = [base64_bytes(line) for line in lines]
    if len(path) > 63 or any(len(digest) != 32 for digest in path):
        raise Malformed("hashes")
    name, size, root = read_checkpoint(split_note(note)[0])
    open_note(note, [key for key in keys if key[0] == origin])
    if name != origin:
        raise Untrue("another ledger's checkpoint")
    included(index, size, leaf_hash(leaf), path, root)
    return size, root


def check_order(public_key: bytes) -> None:
    """RFC 8032 5.1.3: decode the point, double it three times; low order ends at the neutral element."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    y = int.from_bytes(public_key, "little") & (2**255 - 1)
    if y >= p:
        raise Malformed("the key is not canonical")
    square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
    x = pow(square, (p + 3) // 8, p)
    if x * x % p != square:
        x = x * pow(2, (p - 1) // 4, p) % p
    if x * x % p != square:
        raise Malformed("the key is no point")
    for _ in range(3):
        t = d * x * x * y * y % p
        x, y = 2 * x * y * pow(1 + t, -1, p) % p, (y * y + x * x) * pow(1 - t, -1, p) % p
    if (x, y) == (0, 1):
        raise Malformed("the key is of low order")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
