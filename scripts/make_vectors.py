#!/usr/bin/env python3
"""Write tests/vectors/example-v1.json and negative-v1.json with the vault's own code.

Everything that is random in life is drawn here from a name, so that the same code writes the same files. The two are
frozen: they change only if a format does, and then they get another version. Formats are read again by
scripts/check_formats.py, which shares nothing with this program.

    PYTHONPATH=. python scripts/make_vectors.py [DIRECTORY]      default: tests/vectors
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path.insert(0, str(Path(__file__).resolve().parent))  # its neighbours, also where a test loads this file

from negatives import negatives

from vault.checkpoints import Checkpoints
from vault.core import canonical, dictionary, envelope, facets, leaf, packing, receipt, signer, tree
from vault.core.facets import Facets
from vault.core.flags import Flag
from vault.core.parse import parse
from vault.core.proof import Proof
from vault.core.record import API_CODES, FIDELITY_CODES, OUTCOME_CODES
from vault.db.store import HeadRow
from vault.events import context as event_context
from vault.keys.ring import EpochRow, GroupRow, Ring, tenant_ref
from vault.sealing import blind_tags, context_of, facets_of, id_tag

HOST = "vault.example"
TENANT = UUID("5d8a1e0c-7f43-4b7e-9a52-0c6f3be1d2a4")
DECISIONS = UUID("3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634")
EVENTS = UUID("c81e57d0-2a6b-4f39-a4c8-16b90d7e35f2")
NOW_US = 1_767_600_072_111_000  # 2026-01-05T08:01:12.111Z
RULEBOOK = sha256(b"the rule book of the example").digest()
RULES = ["PROD-3Y", "SG-PDPA-25"]

ENGLISH = """{
  "schema": "reasoning-log/1", "id": "dec-2026-000417", "conversation_id": "conv-88",
  "producer_seq": 417, "occurred_at": "2026-01-05T16:01:10.123456+08:00",
  "jurisdictions": ["SG", "CN"], "record_class": "support", "api": "payment_intelligence",
  "source": {"adapter": "litellm", "fidelity": "wire"},
  "prompt": "Order 417 came broken. May we refund 128.50 SGD?",
  "response": "Yes: it was reported within 14 days, so refund the whole amount.",
  "model": {"requested": "qwen2.5", "served": "qwen2.5-72b-instruct"},
  "confidence": {"score": 0.62, "threshold": 0.75},
  "decision": {"action": "refund", "outcome": "accepted", "money_moved": true,
    "executed": {"amount": "128.50", "currency": "SGD"}, "transaction_id": "tx-5501"},
  "customer_ref": "cust-9", "timing": {"ai_ms": 842.7}
}"""

CHINESE = (
    '{"schema":"reasoning-log/1","id":"决定-0418","conversation_id":"对话-七","occurred_at":"2026-01-05T08:01:11Z",'
    '"jurisdictions":["CN"],"api":"non_ai_bypass","source":{"adapter":"native","fidelity":"reconstructed"},'
    '"decision":{"action":"none","outcome":"deterministic_rule","money_moved":false,"reason":"金额低于五元,按规则处理"}}'
)

DETAILS = '{"purpose":"投诉 417: was the refund right?"}'


def drawn(name: str, size: int = 32) -> bytes:
    """The bytes that stand for random ones of this name."""
    return sha256(f"reasonvault example-v1 {name}".encode()).digest()[:size]


class OpenProvider:
    """A key provider that wraps nothing and notes what it was asked: the provider's own form is not ours to fix."""

    name = "example"

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []

    def create_key(self, ref: str) -> None: ...

    def wrap(self, ref: str, secret: bytes, context: bytes) -> bytes:
        self.asked.append((ref, context))
        return secret

    def unwrap(self, ref: str, wrapped: bytes, context: bytes) -> bytes:
        assert (ref, context) in self.asked
        return wrapped


class Writer:
    """One ledger of the example, written as the vault writes."""

    def __init__(self, ledger: UUID, name: str, checkpoints: Path) -> None:
        numbers = count()
        self.ledger = ledger
        self.name = name
        self.provider = OpenProvider()
        self.ring = Ring(
            self.provider,  # type: ignore[arg-type]  # the three methods that a ring calls
            clock=lambda: 0.0,
            random=lambda size: drawn(f"{name} random {next(numbers)}", size),
        )
        self.seed = drawn(f"{name} signing key")
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.public = key.public_key().public_bytes_raw()
        signers = signer.founding(self.public.hex())
        self.checkpoints = Checkpoints(checkpoints, HOST, lambda: signers, lambda _name, message: key.sign(message))
        self.id_key = self.ring.new_ledger_key(tenant_ref(TENANT), ledger)
        self.asked: list[dict[str, Any]] = [{"purpose": "ledger", "group": "", "epoch_id": "0"}]
        self.hashes: list[bytes] = []
        self.frontier = tree.Frontier()
        self.entries: list[dict[str, Any]] = []
        self.openings: dict[int, bytes] = {}
        self.note = ""
        self.checkpoints.begin(ledger)

    def commit(self, *drafts: tuple[dict[str, Any], Callable[[int, bytes], bytes]]) -> None:
        """Append entries in one commit: what is known of each, and how its leaf is spelled in its place."""
        for known, spell in drafts:
            data = spell(len(self.hashes), self.hashes[-1] if self.hashes else b"")
            self.hashes.append(tree.leaf_hash(data))
            self.frontier.append(self.hashes[-1])
            document = leaf.parse(data)
            self.entries.append(
                {
                    "what": known.pop("what"),
                    "kind": document.kind,
                    "leaf": data.decode(),
                    "leaf_hash_hex": self.hashes[-1].hex(),
                    "stored": {"as_it_is_hex": data.hex(), "packed_hex": packing.pack(data).hex()},
                    **known,
                }
            )
        head = HeadRow(len(self.hashes), self.hashes[-1], self.frontier.to_bytes())
        self.checkpoints.announce(self.ledger, head)
        self.note = self.checkpoints.publish(self.ledger, self.frontier)

    def keys(self, group: str) -> tuple[GroupRow, EpochRow]:
        made = self.ring.new_group(self.ledger, group)
        epoch = self.ring.new_epoch(made, "writer-1", "2026-01-05")
        self.asked += [
            {"purpose": "index", "group": group, "epoch_id": "0"},
            {"purpose": "epoch", "group": group, "epoch_id": str(epoch.epoch_id)},
        ]
        return made, epoch

    def genesis(self, kind: str) -> None:
        fields = {
            "created_at": leaf.instant_ms(NOW_US),
            "jurisdictions": ["SG", "CN"],
            "kind": "genesis",
            "ledger": str(self.ledger),
            "ledger_kind": kind,
            "name": self.name,
            "region": "sg-1",
            "rulebook": canonical.b64(RULEBOOK),
            "rules": ["SG-PDPA-25"],
            "seq": 0,
            "tenant": str(TENANT),
            "v": leaf.VERSION,
            "verifiers": [str(self.checkpoints.verifier(self.ledger))],
        }
        self.commit(({"what": "the genesis leaf"}, lambda _seq, _prev: canonical.encode(fields)))

    def seal(
        self, text: str, epoch: EpochRow, context: envelope.Context, codec: int
    ) -> tuple[envelope.Sealed, dict[str, Any]]:
        """Seal one text, and say everything about it."""
        record_key, nonce = drawn(f"record key of {text}"), drawn(f"nonce of {text}", 12)
        sealed = envelope._seal(text.encode(), record_key, context, codec, nonce)
        frame = dictionary.compressor(codec, envelope._LEVEL).compress(text.encode())
        padded = len(frame).to_bytes(4) + frame
        assert envelope.open_part(sealed.envelope, record_key, sealed.key_commitment, context) == text.encode()
        return sealed, {
            "text": text,
            "record_key_hex": record_key.hex(),
            "key_commitment_hex": sealed.key_commitment.hex(),
            "opening_hex": sealed.opening.hex(),
            "plaintext_commitment_hex": sealed.plaintext_commitment.hex(),
            "epoch_id": str(epoch.epoch_id),
            "epoch_key_hex": epoch.wrapped.hex(),
            "associated_hex": (_record_label(epoch) + sealed.key_commitment).hex(),
            "wrapped_hex": self.ring.wrap_record_key(epoch, record_key, sealed.key_commitment).hex(),
            "parts": [
                {
                    "codec": codec,
                    "encryption_key_hex": envelope._encryption_key(record_key, 0).hex(),
                    "header_hex": envelope.header(context, codec).hex(),
                    "nonce_hex": nonce.hex(),
                    "frame_hex": frame.hex(),
                    "padded_hex": (padded + bytes(-len(padded) % 64)).hex(),
                    "envelope_hex": sealed.envelope.hex(),
                    "digest_hex": sealed.part_digest.hex(),
                }
            ],
        }

    def record(self, what: str, text: str, group: str, keep_until: int | None, flags: int, codec: int) -> Any:
        """A record, up to its place."""
        parsed = parse(text.encode(), now_us=NOW_US)
        columns = facets_of(parsed, int(parsed.flags) | flags)
        record, salt = parsed.record, drawn(f"salt of {text}", facets.SALT_BYTES)
        context = context_of(columns, self.ledger, "local", record.producer_seq, record.schema)
        made, epoch = self.keys(group)
        sealed, told = self.seal(text, epoch, context, codec)
        draft = leaf.record_draft(
            facets=facets.digest(columns, salt),
            group=group,
            id_tag=id_tag(self.id_key, record.id),
            keep_until=keep_until,
            key=sealed.key_commitment,
            ledger=self.ledger,
            parts=(sealed.part_digest,),
            plaintext=sealed.plaintext_commitment,
            producer="local",
            producer_seq=record.producer_seq,
            received_at=leaf.instant_ms(NOW_US),
            rulebook=RULEBOOK,
            rules=tuple(RULES),
        )
        index_key = self.ring.open_index_key(made)
        tags = zip(("conversation", "transaction", "customer"), blind_tags(index_key, record), strict=True)
        known = {
            "what": what,
            "facets": {
                "fields": facet_fields(columns),
                "salt_hex": salt.hex(),
                "bytes_hex": facets.canonical(columns).hex(),
                "digest_hex": facets.digest(columns, salt).hex(),
                "id_tag_hex": id_tag(self.id_key, record.id).hex(),
            },
            "sealed": told,
            "blind": {"index_key_hex": index_key.hex()} | {field: str(tag) for field, tag in tags if tag is not None},
        }
        return known, draft.at

    def event(self, what: str, name: str, facts: dict[str, Any], details: str | None = None) -> Any:
        """An event, up to its place."""
        fields: dict[str, Any] = {
            "actor": "local:ann",
            "at": leaf.instant_ms(NOW_US),
            "event": name,
            "facts": facts,
            "kind": "event",
            "ledger": str(self.ledger),
        }
        known: dict[str, Any] = {"what": what}
        if details is not None:
            _, epoch = self.keys("2029-01.0")
            sealed, known["sealed"] = self.seal(details, epoch, event_context(self.ledger), dictionary.CURRENT)
            fields |= {
                "group": "2029-01.0",
                "keep_until": "2029-01-05T16:00:00Z",
                "key": canonical.b64(sealed.key_commitment),
                "parts": [canonical.b64(sealed.part_digest)],
                "plaintext": canonical.b64(sealed.plaintext_commitment),
                "rulebook": canonical.b64(RULEBOOK),
                "rules": ["PROD-3Y"],
            }
        return known, leaf.draft(fields).at

    def told(self) -> dict[str, Any]:
        """Everything about the ledger, its checkpoint and the proofs under it."""
        proofs = [
            Proof(seq, tuple(tree.inclusion_path(seq, self.hashes)), self.note) for seq in range(len(self.hashes))
        ]
        for entry, proof in zip(self.entries, proofs, strict=True):
            if entry["kind"] == "record":
                data, opened = entry["leaf"].encode(), bytes.fromhex(entry["sealed"]["opening_hex"])
                kept, gone = receipt.issue(data, opened, proof), receipt.issue(data, None, proof)
                entry["receipts"] = {"kept": kept.decode(), "destroyed": gone.decode()}
        return {
            "name": self.name,
            "ledger": str(self.ledger),
            "origin": self.checkpoints.origin(self.ledger),
            **({"id_key_hex": self.id_key.hex()} if any("facets" in entry for entry in self.entries) else {}),
            "seed_hex": self.seed.hex(),
            "public_hex": self.public.hex(),
            "verifier_key": str(self.checkpoints.verifier(self.ledger)),
            "provider": [
                {**asked, "provider_key": ref, "context_hex": context.hex()}
                for asked, (ref, context) in zip(self.asked, self.provider.asked, strict=True)
            ],
            "entries": self.entries,
            "frontier_hex": [node.hex() for node in _pieces(self.frontier.to_bytes())],
            "root_hex": self.frontier.root().hex(),
            "checkpoint": self.note,
            "pending": {
                "sizes": [head.size for head in self.checkpoints.pending(self.ledger)],
                "note": (self.checkpoints._place(self.ledger) / "pending").read_text("utf-8"),
            },
            "proofs": [proof.to_text() for proof in proofs],
        }


def facet_fields(columns: Facets) -> dict[str, Any]:
    """Facets with words for codes, as the page has them."""
    words = [{code: word for word, code in codes.items()} for codes in (API_CODES, OUTCOME_CODES, FIDELITY_CODES)]
    api, outcome, fidelity = (words[0][columns.api], words[1][columns.outcome], words[2][columns.fidelity])
    return {**columns._asdict(), "api": api, "outcome": outcome, "fidelity": fidelity}


def example() -> dict[str, Any]:
    """The document of example-v1.json."""
    with tempfile.TemporaryDirectory() as home:
        decisions = Writer(DECISIONS, "decisions-sg", Path(home))
        decisions.genesis("decisions")
        flags = int(Flag.IDENTITY_NUMBER | Flag.TRANSACTION_PRESUMED)
        decisions.commit(
            decisions.record(
                "an English record with every facet and a date", ENGLISH, "2033-01.0", 1_988_467_200, flags, 1
            ),
            decisions.record(
                "a Chinese record without optional facets, not dated", CHINESE, "open.0", None, 1 << 10, 0
            ),
        )
        events = Writer(EVENTS, "events", Path(home))
        events.genesis("events")
        first = decisions.entries[0]
        created = {
            "genesis": canonical.b64(bytes.fromhex(first["leaf_hash_hex"])),
            "ledger": str(DECISIONS),
            "name": decisions.name,
        }
        events.commit(events.event("an event whose facts say all", "ledger.created", created))
        opened = {"ledger": str(DECISIONS), "seq": 1}
        events.commit(events.event("an event with sealed details", "record.opened", opened, DETAILS))
        return {
            "source": "our own, written by scripts/make_vectors.py with vault.core, vault.keys.ring and vault.sealing; "
            "checked by scripts/check_formats.py; keys are published here and protect nothing",
            "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
            "dictionaries": {
                "record 1": dictionary.digest(1).hex(),
                "leaf 1": sha256(dictionary.leaf_content(1)).hexdigest(),
            },
            "ledgers": [decisions.told(), events.told()],
        }


def _pieces(frontier: bytes) -> list[bytes]:
    return [frontier[at : at + 32] for at in range(0, len(frontier), 32)]


def _record_label(epoch: EpochRow) -> bytes:
    return b"reasonvault/ring/record/1\0" + epoch.ledger.bytes + epoch.epoch_id.to_bytes(8)


def spelled(document: dict[str, Any]) -> str:
    """The text of a vector file."""
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def main(arguments: list[str]) -> int:
    """Write both files."""
    place = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent / "tests" / "vectors"
    made = example()
    (place / "example-v1.json").write_text(spelled(made), encoding="utf-8")
    (place / "negative-v1.json").write_text(spelled(negatives(made)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
