"""Proof files, their vectors, and the independent checker.

After a change of the cases: `PYTHONPATH=. python tests/unit/core/test_proof.py > /tmp/proof.json`, then
move it to tests/vectors. The format itself is not ours to change.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from vault.core import note, proof, tree
from vault.core.checkpoint import Checkpoint, sign_checkpoint
from vault.core.errors import Modified, RefusedInput, VaultError
from vault.core.note import VerifierKey
from vault.core.proof import Proof

ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "tests" / "vectors"
FILES = [
    *("rfc6962-inclusion.json", "rfc6962-consistency.json", "rfc6962-known-roots.json"),
    *("signed-notes.json", "proof.json"),
]

ORIGIN = "vault.example/0b8f6e0a-54a1-4a9a-9d1c-3f0f3c1f7d11"
OTHER = "vault.example/7c1b8a44-98f3-4a53-8a3e-b0c4f3b2a900"
SEEDS = {who: sha256(b"proof.json " + who.encode()).digest() for who in ("old", "new", "other ledger")}
SIGNERS = {who: Ed25519PrivateKey.from_private_bytes(seed) for who, seed in SEEDS.items()}
KEYS = {
    who: VerifierKey.from_public(OTHER if who == "other ledger" else ORIGIN, key.public_key().public_bytes_raw())
    for who, key in SIGNERS.items()
}
LEAVES = [b"leaf %d" % number for number in range(1000)]
HASHES = [tree.leaf_hash(leaf) for leaf in LEAVES]


def checkpoint_of(size: int, who: str = "old", origin: str = ORIGIN) -> str:
    text = Checkpoint(origin, size, tree.root(HASHES[:size])).text()
    return note.sign(text, KEYS[who].name, SIGNERS[who].sign, KEYS[who].public_key)


def proof_of(index: int, size: int, extra: bytes | None = None, checkpoint: str | None = None) -> Proof:
    path = tuple(tree.inclusion_path(index, HASHES[:size]))
    return Proof(index, path, checkpoint or checkpoint_of(size), extra)


def vectors() -> dict[str, Any]:
    """The contents of proof.json; Ed25519 is deterministic, so every run gives the same bytes."""
    return {
        "source": "our own, written by tests/unit/core/test_proof.py",
        "keys": [{"who": who, "seed_hex": SEEDS[who].hex(), "vkey": str(KEYS[who])} for who in SEEDS],
        "cases": [*valid_cases(), *false_cases(), *malformed_cases()],
        "refused_vkeys": refused_vkeys(),
    }


def case(
    name: str, verdict: str, text: str, leaf: bytes, keys: tuple[str, ...] = ("old",), size: int | None = None
) -> dict[str, Any]:
    known = [str(KEYS[who]) for who in keys]
    found = {
        "name": name,
        "verdict": verdict,
        "origin": ORIGIN,
        "keys": known,
        "leaf_b64": b64(leaf),
        "text": text,
    }
    return found if size is None else {**found, "size": size, "root_b64": b64(tree.root(HASHES[:size]))}


def valid_cases() -> list[dict[str, Any]]:
    places = [
        (0, 1),
        (0, 2),
        (1, 2),
        (2, 3),
        (0, 8),
        (7, 8),
        (5, 7),
        (6, 7),
        (64, 65),
        (99, 100),
        (300, 1000),
    ]
    cases = [
        case(f"leaf {index} of {size}", "valid", proof_of(index, size).to_text(), LEAVES[index], size=size)
        for index, size in places
    ]
    extra = proof_of(5, 7, extra=bytes(range(100))).to_text()
    cases.append(case("extra data", "valid", extra, LEAVES[5], size=7))
    signer = SIGNERS["new"].sign
    rotated = note.add_signature(checkpoint_of(7), ORIGIN, signer, KEYS["new"].public_key)
    text = proof_of(5, 7, checkpoint=rotated).to_text()
    for keys in (("old",), ("new",), ("new", "old")):
        cases.append(case(f"rotation, known: {' '.join(keys)}", "valid", text, LEAVES[5], keys, size=7))
    witness = checkpoint_of(7) + f"\N{EM DASH} witness.example/w1 {b64(bytes(76))}\n"
    text = proof_of(5, 7, checkpoint=witness).to_text()
    cases.append(case("line of an unknown witness", "valid", text, LEAVES[5], size=7))
    return cases


def false_cases() -> list[dict[str, Any]]:
    good = proof_of(5, 7)
    text = good.to_text()
    upper = (good.path[1], good.path[0], *good.path[2:])
    flipped = (bytes([good.path[0][0] ^ 1]) + good.path[0][1:], *good.path[1:])
    two_keys = ("old", "other ledger")
    forged = f"\N{EM DASH} {ORIGIN} {b64(KEYS['new'].key_id + bytes(64))}\n"
    texts = {
        "another leaf": (text, LEAVES[4], ("old",)),
        "the empty leaf": (text, b"", ("old",)),
        "two hashes as a leaf": (proof_of(0, 1).to_text(), HASHES[0] + HASHES[1], ("old",)),
        "another index": (text.replace("index 5", "index 4"), LEAVES[5], ("old",)),
        "an index beyond the tree": (text.replace("index 5", "index 7"), LEAVES[5], ("old",)),
        "a changed hash": (Proof(5, flipped, good.checkpoint).to_text(), LEAVES[5], ("old",)),
        "swapped hashes": (Proof(5, upper, good.checkpoint).to_text(), LEAVES[5], ("old",)),
        "a hash too few": (Proof(5, good.path[:-1], good.checkpoint).to_text(), LEAVES[5], ("old",)),
        "a hash too many": (
            Proof(5, (*good.path, HASHES[0]), good.checkpoint).to_text(),
            LEAVES[5],
            ("old",),
        ),
        "no hashes": (Proof(5, (), good.checkpoint).to_text(), LEAVES[5], ("old",)),
        "a root as leaf hash": (Proof(0, (), checkpoint_of(2)).to_text(), HASHES[0] + HASHES[1], ("old",)),
        "the path of another size": (Proof(5, good.path, checkpoint_of(8)).to_text(), LEAVES[5], ("old",)),
        "another size under the signature": (text.replace("\n7\n", "\n6\n"), LEAVES[5], ("old",)),
        "the empty tree": (Proof(0, (), checkpoint_of(0)).to_text(), LEAVES[0], ("old",)),
        "an unknown signer": (text, LEAVES[5], ("new",)),
        "no keys": (text, LEAVES[5], ()),
        "another ledger's trusted key": (
            proof_of(5, 7, checkpoint=checkpoint_of(7, "other ledger")).to_text(),
            LEAVES[5],
            two_keys,
        ),
        "another ledger's checkpoint": (
            proof_of(5, 7, checkpoint=checkpoint_of(7, "other ledger", OTHER)).to_text(),
            LEAVES[5],
            two_keys,
        ),
        "another ledger's checkpoint under this ledger's key": (
            proof_of(5, 7, checkpoint=checkpoint_of(7, "old", OTHER)).to_text(),
            LEAVES[5],
            ("old",),
        ),
        "a known key's bad signature beside a good one": (text + forged, LEAVES[5], ("old", "new")),
    }
    return [case(name, "false", *given) for name, given in texts.items()]


def malformed_cases() -> list[dict[str, Any]]:
    good = proof_of(5, 7, extra=b"extra")
    text = good.to_text()
    first, second = (b64(digest) for digest in good.path[:2])
    extended = note.sign(
        Checkpoint(ORIGIN, 7, tree.root(HASHES[:7])).text() + "extension\n",
        *(ORIGIN, SIGNERS["old"].sign, KEYS["old"].public_key),
    )
    root_end = b64(tree.root(HASHES[:7]))[-2]
    texts = {
        "empty": "",
        "another version": text.replace("@v1", "@v2"),
        "a line before": "\n" + text,
        "line ends of another system": text.replace("\n", "\r\n"),
        "no index": text.replace("index 5\n", ""),
        "two indexes": text.replace("index 5\n", "index 5\nindex 5\n"),
        "a leading zero": text.replace("index 5", "index 05"),
        "a sign": text.replace("index 5", "index +5"),
        "an index of 2^63": text.replace("index 5", "index 9223372036854775808"),
        "digits of another script": text.replace("index 5", "index \u0665"),
        "extra after the index": text.replace("extra ZXh0cmE=\nindex 5\n", "index 5\nextra ZXh0cmE=\n"),
        "extra twice": text.replace("extra ZXh0cmE=\n", "extra ZXh0cmE=\nextra ZXh0cmE=\n"),
        "empty extra": text.replace("ZXh0cmE=", ""),
        "extra in its second spelling": text.replace("ZXh0cmE=", "ZXh0cmF="),
        "a short hash": text.replace(first, first[4:]),
        "a long hash": text.replace(first, "AAAA" + first),
        "a hash without padding": text.replace(first, first.rstrip("=")),
        "a hash in another alphabet": text.replace(first, "-" + first[1:]),
        "a space after a hash": text.replace(first, first + " "),
        "a blank line among the hashes": text.replace(second, "\n" + second),
        "no blank line": text.replace(f"\n\n{ORIGIN}", f"\n{ORIGIN}"),
        "64 hashes": text.replace(first, "\n".join([first] * 62)),
        "no checkpoint": text[: text.index(ORIGIN)],
        "no signature": text[: text.index("\N{EM DASH}")],
        "a checkpoint with an extension line": good.to_text().replace(good.checkpoint, extended),
        "a size with a leading zero": text.replace("\n7\n", "\n07\n"),
        "a root in its second spelling": text.replace(f"{root_end}=\n\n", f"{chr(ord(root_end) + 1)}=\n\n"),
        "an empty tree with a root": text.replace("\n7\n", "\n0\n"),
        "a last line without end": text.removesuffix("\n"),
        "something after the end": text + "\n",
        "garbage after the end": text + "garbage\n",
    }
    return [case(name, "malformed", changed, LEAVES[5]) for name, changed in texts.items()]


def refused_vkeys() -> list[dict[str, str]]:
    good = KEYS["old"]
    of_order_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
    points = {
        "order 4": bytes(32),
        "order 1": b"\x01" + bytes(31),
        "order 2": b"\xec" + b"\xff" * 30 + b"\x7f",
        "order 8": bytes.fromhex(of_order_8),
        "not canonical": b"\xed" + b"\xff" * 30 + b"\x7f",
        "no point": b"\x02" + bytes(31),
        "31 bytes": good.public_key[:31],
    }
    refused = [{"name": name, "vkey": vkey_text(1, point)} for name, point in points.items()]
    refused.append({"name": "a key id of another key", "vkey": str(good).replace(good.key_id.hex(), "01020304")})
    refused.append({"name": "a witness's key", "vkey": vkey_text(4, good.public_key)})
    return refused


def vkey_text(kind: int, public_key: bytes) -> str:
    typed = bytes([kind]) + public_key
    key_id = sha256(ORIGIN.encode() + b"\n" + typed).hexdigest()[:8]
    return f"{ORIGIN}+{key_id}+{b64(typed)}"


def b64(data: bytes) -> str:
    return b64encode(data).decode()


def rendered() -> str:
    return json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n"


WRITTEN: dict[str, Any] = (
    json.loads((VECTORS / "proof.json").read_text(encoding="utf-8")) if __name__ != "__main__" else {}
)


def test_the_written_vectors_are_what_we_would_write_today() -> None:
    assert (VECTORS / "proof.json").read_text(encoding="utf-8") == rendered()


@pytest.mark.parametrize("case", WRITTEN.get("cases", []), ids=lambda case: case["name"])
def test_written_case(case: dict[str, Any]) -> None:
    keys = [VerifierKey.parse(text) for text in case["keys"]]
    leaf = b64decode(case["leaf_b64"])
    if case["verdict"] == "malformed":
        with pytest.raises(RefusedInput):
            Proof.parse(case["text"])
        with pytest.raises(RefusedInput):
            Proof.parse(case["text"].encode())
        return
    parsed = Proof.parse(case["text"])
    assert parsed.to_text() == case["text"]
    if case["verdict"] == "false":
        with pytest.raises(Modified):
            proof.verify(parsed, leaf, keys, case["origin"])
    else:
        checkpoint = proof.verify(parsed, leaf, keys, case["origin"])
        assert checkpoint == Checkpoint(case["origin"], case["size"], b64decode(case["root_b64"]))


@pytest.mark.parametrize("refused", WRITTEN.get("refused_vkeys", []), ids=lambda refused: refused["name"])
def test_written_refused_key(refused: dict[str, str]) -> None:
    with pytest.raises(RefusedInput):
        VerifierKey.parse(refused["vkey"])


@given(st.data())
def test_any_changed_byte_is_found(data: st.DataObject) -> None:
    original = proof_of(5, 7).to_text().encode()
    place = data.draw(st.integers(0, len(original) - 1))
    change = data.draw(st.integers(1, 255))
    damaged = original[:place] + bytes([original[place] ^ change]) + original[place + 1 :]
    with pytest.raises((RefusedInput, Modified)):
        proof.verify(Proof.parse(damaged), LEAVES[5], [KEYS["old"]], ORIGIN)


@given(st.one_of(st.binary(), st.text(), st.text().map(lambda tail: proof_of(0, 1).to_text()[:40] + tail)))
def test_nothing_but_refusals_leaves_the_parser(text: str | bytes) -> None:
    with pytest.raises(VaultError):
        Proof.parse(text)


@given(size=st.integers(1, 300), data=st.data(), extra=st.none() | st.binary(min_size=1))
def test_what_is_written_is_read_and_verifies(size: int, data: st.DataObject, extra: bytes | None) -> None:
    index = data.draw(st.integers(0, size - 1))
    made = proof_of(index, size, extra)
    assert Proof.parse(made.to_text()) == Proof.parse(made.to_text().encode()) == made
    assert proof.verify(made, LEAVES[index], [KEYS["old"]], ORIGIN).size == size


def test_the_receipts_of_a_batch_verify() -> None:
    frontier = tree.Frontier()
    frontier.extend(HASHES[:333])
    paths = tree.appended_paths(frontier, HASHES[333:400])
    frontier.extend(HASHES[333:400])
    signed = sign_checkpoint(Checkpoint(ORIGIN, 400, frontier.root()), SIGNERS["old"].sign, KEYS["old"].public_key)
    for index, path in enumerate(paths, start=333):
        proof.verify(Proof(index, tuple(path), signed), LEAVES[index], [KEYS["old"]], ORIGIN)


@pytest.mark.parametrize("index", [-1, 2**63])
def test_an_index_that_could_not_be_read_is_not_made(index: int) -> None:
    with pytest.raises(RefusedInput, match="index"):
        Proof(index, (), checkpoint_of(1))


def test_a_huge_file_is_refused_before_it_is_read() -> None:
    with pytest.raises(RefusedInput, match="longer"):
        Proof.parse("x" * (proof.MAX_PROOF_BYTES + 1))


def test_the_opening_in_a_receipt_does_not_reach_a_log_line() -> None:
    assert "opening" not in repr(proof_of(0, 1, extra=b"opening"))


def test_the_independent_checker_agrees() -> None:
    done = check(*(VECTORS / name for name in FILES))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("rfc6962-inclusion.json", '"wantErr": false', '"wantErr": true', "0/happy-path"),
        ("rfc6962-consistency.json", '"wantErr": false', '"wantErr": true', "0/happy-path"),
        ("rfc6962-known-roots.json", "76e67dad", "76e67dae", "root of 6 leaves"),
        ("signed-notes.json", "This is an example", "That is an example", "C2SP signed-note.md"),
        ("proof.json", '"verdict": "valid"', '"verdict": "false"', "leaf 0 of 1"),
        ("proof.json", '"name": "another leaf",\n   "verdict": "false"',
         '"name": "another leaf",\n   "verdict": "valid"', "another leaf"),
    ],
)  # fmt: skip
def test_the_independent_checker_names_a_wrong_case(tmp_path: Path, file: str, old: str, new: str, named: str) -> None:
    copy = tmp_path / file
    shutil.copy(VECTORS / file, copy)
    text = copy.read_text(encoding="utf-8")
    assert old in text
    copy.write_text(text.replace(old, new, 1), encoding="utf-8")
    done = check(copy)
    assert done.returncode == 1
    assert named in done.stderr
    assert file in done.stderr


def test_the_independent_checker_refuses_a_file_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "unheard-of.json").write_text("{}")
    done = check(tmp_path / "unheard-of.json")
    assert done.returncode == 1
    assert "unheard-of.json" in done.stderr


def check(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(ROOT / "scripts" / "check_vectors.py"), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.stdout.write(rendered())
