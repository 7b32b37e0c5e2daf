"""Cosignatures, their vectors, and the independent checker.

After a change of the cases: `PYTHONPATH=. python tests/unit/core/test_cosignature.py > cosignature.json`, then
move it to tests/vectors. The format itself is not ours to change.
"""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault.core import cosignature, note
from vault.core.cosignature import CosignerKey
from vault.core.errors import Modified, RefusedInput, UsageError
from vault.core.note import VerifierKey

ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "tests" / "vectors"
PUBLISHED: dict[str, Any] = json.loads((VECTORS / "signed-notes.json").read_text(encoding="utf-8"))
REMORA = PUBLISHED["cosignature_v1"][0]["works_vkeys"][1]

ORIGIN = "vault.example/0b8f6e0a-54a1-4a9a-9d1c-3f0f3c1f7d11"
ROOT_B64 = b64encode(bytes(range(32))).decode()
TEXT = f"{ORIGIN}\n20852163\n{ROOT_B64}\n"
SEEDS = {who: sha256(b"cosignature.json " + who.encode()).digest() for who in ("log", "w1", "w2", "stranger")}
SIGNERS = {who: Ed25519PrivateKey.from_private_bytes(seed) for who, seed in SEEDS.items()}
KEYS = {
    who: CosignerKey(f"witness.example/{who}", SIGNERS[who].public_key().public_bytes_raw())
    for who in ("w1", "w2", "stranger")
}
NOTE = note.sign(TEXT, ORIGIN, SIGNERS["log"].sign, SIGNERS["log"].public_key().public_bytes_raw())
AT = 1_679_315_147


def line(who: str, at: int = AT, text: str = NOTE) -> str:
    return cosignature.cosign(text, KEYS[who], SIGNERS[who].sign, at)


def raw(who: str, data: bytes) -> str:
    return f"\N{EM DASH} {KEYS[who].name} {b64encode(KEYS[who].key_id + data).decode()}\n"


def vectors() -> dict[str, Any]:
    """The contents of cosignature.json; Ed25519 is deterministic, so every run gives the same bytes."""
    return {
        "source": "our own, written by tests/unit/core/test_cosignature.py",
        "keys": [{"who": who, "seed_hex": SEEDS[who].hex(), "vkey": str(KEYS[who])} for who in KEYS],
        "cases": [*valid_cases(), *bad_cases()],
        "refused_vkeys": refused_vkeys(),
    }


def case(name: str, verdict: str, text: str, keys: tuple[str, ...] = ("w1",), **found: int) -> dict[str, Any]:
    known = [str(KEYS[who]) for who in keys]
    times = {KEYS[who].name: at for who, at in found.items()}
    return {"name": name, "verdict": verdict, "keys": known, "note": text, "times": times}


def valid_cases() -> list[dict[str, Any]]:
    both = NOTE + line("w1") + line("w2", AT + 7)
    return [
        case("one witness", "valid", NOTE + line("w1"), w1=AT),
        case("two witnesses, both known", "valid", both, ("w1", "w2"), w1=AT, w2=AT + 7),
        case("two witnesses, one known", "valid", both, ("w2",), w2=AT + 7),
        case("nobody who is known", "valid", both, ("stranger",)),
        case("no cosignature", "valid", NOTE),
        case("at the beginning of time", "valid", NOTE + line("w1", 0), w1=0),
        case("at the latest time", "valid", NOTE + line("w1", 2**63 - 1), w1=2**63 - 1),
        case("a stranger's line that holds nothing", "valid", NOTE + line("w1") + raw("w2", b"x"), w1=AT),
    ]


def bad_cases() -> list[dict[str, Any]]:
    good = line("w1")
    signature = note.decode_base64(good.split(" ")[2].strip()) or b""
    time, bytes64 = signature[4:12], signature[12:]
    late = SIGNERS["w1"].sign(cosignature.message(TEXT, 2**63))
    other = f"{ORIGIN}\n20852164\n{ROOT_B64}\n"
    return [
        case("another tree", "false", note.sign(other, ORIGIN, *_log()) + good),
        case("another time", "false", NOTE + raw("w1", (AT + 1).to_bytes(8, "big") + bytes64)),
        case("signed like a log", "false", NOTE + raw("w1", time + SIGNERS["w1"].sign(TEXT.encode()))),
        case("a time beyond 2^63", "false", NOTE + raw("w1", (2**63).to_bytes(8, "big") + late)),
        case("without a time", "false", NOTE + raw("w1", bytes64)),
        case("a byte too many", "false", NOTE + raw("w1", time + bytes64 + b"\0")),
        case("a second line that is wrong", "false", NOTE + good + raw("w1", bytes(72))),
        case("by another key of this name", "false", NOTE + raw("w1", time + SIGNERS["w2"].sign(b"x"))),
        case("no blank line", "malformed", NOTE.replace("\n\n", "\n") + good),
        case("base64 in a second spelling", "malformed", NOTE + good.replace("\n", "=\n")),
    ]


def refused_vkeys() -> list[dict[str, str]]:
    key = KEYS["w1"]
    low = bytes(32)
    low_id = sha256(key.name.encode() + b"\n\x04" + low).hexdigest()[:8]
    return [
        {"name": "a log's key", "vkey": str(VerifierKey(key.name, key.public_key))},
        {"name": "low order", "vkey": f"{key.name}+{low_id}+{b64encode(bytes([4]) + low).decode()}"},
        {"name": "another key id", "vkey": str(key).replace(key.key_id.hex(), "00000000")},
        {"name": "key id of a log's key", "vkey": str(key).replace(key.key_id.hex(), _log_id(key))},
        {
            "name": "a log's type",
            "vkey": f"{key.name}+{key.key_id.hex()}+{b64encode(bytes([1]) + key.public_key).decode()}",
        },
        {"name": "a byte short", "vkey": f"{key.name}+{key.key_id.hex()}+{b64encode(bytes([4] * 32)).decode()}"},
        {"name": "no key", "vkey": f"{key.name}+{key.key_id.hex()}+"},
        {"name": "no name", "vkey": str(key).removeprefix(key.name)},
    ]


def _log_id(key: CosignerKey) -> str:
    return VerifierKey(key.name, key.public_key).key_id.hex()


def _log() -> tuple[Any, bytes]:
    return SIGNERS["log"].sign, SIGNERS["log"].public_key().public_bytes_raw()


DATA: dict[str, Any] = json.loads(path.read_text("utf-8")) if (path := VECTORS / "cosignature.json").exists() else {}


def test_the_vectors_are_what_this_file_writes() -> None:
    assert vectors() == DATA


@pytest.mark.parametrize("example", DATA.get("cases", []), ids=lambda example: example["name"])
def test_a_vector_comes_out_as_it_says(example: dict[str, Any]) -> None:
    keys = [CosignerKey.parse(text) for text in example["keys"]]
    if example["verdict"] == "valid":
        found = cosignature.read(example["note"], keys)
        assert {one.key.name: one.at for one in found} == example["times"]
        assert all(one.line in example["note"] for one in found)
    else:
        with pytest.raises(Modified):
            cosignature.read(example["note"], keys)


@pytest.mark.parametrize("example", DATA.get("refused_vkeys", []), ids=lambda example: example["name"])
def test_a_key_is_refused(example: dict[str, str]) -> None:
    with pytest.raises(RefusedInput):
        CosignerKey.parse(example["vkey"])


def test_the_independent_checker_agrees() -> None:
    script = [sys.executable, "-I", str(ROOT / "scripts" / "check_vectors.py")]
    ran = subprocess.run([*script, str(VECTORS / "cosignature.json")], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_independent_checker_notices(tmp_path: Path) -> None:
    swapped = json.dumps(DATA).replace(str(AT), str(AT + 1))
    (tmp_path / "cosignature.json").write_text(swapped, "utf-8")
    script = [sys.executable, "-I", str(ROOT / "scripts" / "check_vectors.py")]
    ran = subprocess.run([*script, str(tmp_path / "cosignature.json")], capture_output=True, text=True, check=False)
    assert ran.returncode == 1


def test_a_published_key_reads_as_it_is_written() -> None:
    assert str(CosignerKey.parse(REMORA)) == REMORA


def test_of_two_lines_of_one_witness_the_first_counts() -> None:
    (found,) = cosignature.read(NOTE + line("w1", 5) + line("w1", 9), [KEYS["w1"]])
    assert found.at == 5


def test_two_keys_that_no_line_can_tell_apart_are_refused() -> None:
    twin = CosignerKey(KEYS["w1"].name, KEYS["w2"].public_key)
    object.__setattr__(twin, "key_id", KEYS["w1"].key_id)
    with pytest.raises(UsageError, match="two witness keys"):
        cosignature.read(NOTE, [KEYS["w1"], twin])


def test_who_does_not_hold_the_key_cosigns_nothing() -> None:
    with pytest.raises(UsageError):
        cosignature.cosign(NOTE, KEYS["w1"], SIGNERS["w2"].sign, AT)
    with pytest.raises(RefusedInput):
        line("w1", -1)


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=1, ensure_ascii=False))
