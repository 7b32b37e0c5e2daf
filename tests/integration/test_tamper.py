"""One entry tampered with: its leaf, what stands beside it, the keys it opens with.

Every test says at which depth the crime shows and, where a shallower depth does not read those bytes, that it does not
show there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import Connection

from tests.support.decisions import decision, spelled
from tests.support.tampering import Crime, Found, changed, missing, modified
from tests.support.two_keys import seal_under_two_keys
from vault import events, opening
from vault.core import canonical, envelope, leaf, packing
from vault.core.leaf import EventLeaf, GenesisLeaf, RecordLeaf
from vault.core.tree import leaf_hash
from vault.db import groups, store
from vault.db.store import SealedRow
from vault.db.tables import FACET_COLUMNS, TAG_COLUMNS
from vault.keys.ring import EpochRow
from vault.opening import Opener
from vault.verdict import Depth, Verdict

SEQ = 17
DETAILED = 5  # an event with details: the refusal of a line

OTHER_FACETS = {
    "record_id": "'dec-9999'",
    "occurred_at": "occurred_at + interval '1 microsecond'",
    "jurisdictions": "'SG,CN'",
    "record_class": "'support'",
    "api": "api + 1",
    "outcome": "4",
    "fidelity": "fidelity + 1",
    "money_moved": "NOT money_moved",
    "below_threshold": "NOT below_threshold",
    "score": "score + 0.01",
    "ai_ms": "ai_ms - 1",
    "flags": "flags | 2048",
    "model": "'qwen-max'",
}
ABSURD_FACETS = {
    "occurred_at": ["'infinity'", "'-infinity'", "'4000-01-01 BC'", "'12000-01-01'"],
    "api": ["-1", "300"],
    "score": ["'NaN'", "'Infinity'"],
    "ai_ms": ["-1"],
    "flags": ["-1"],
    "model": ["repeat('x', 70000)", "''"],
    "jurisdictions": ["''"],
}


@pytest.mark.parametrize("seq", [1, SEQ, 180, 181])
def test_an_edited_leaf(crime: Crime, seq: int) -> None:
    edited = changed(crime.leaves("cn")[seq], lambda leaf: leaf.update(keep_until="2026-12-01T00:00:00Z"))
    crime.put_leaf("cn", seq, edited)
    crime.expect(Depth.LEAVES, modified("cn", seq))


def test_an_edited_leaf_whose_follower_was_made_to_agree(crime: Crime) -> None:
    leaves = crime.leaves("cn")
    edited = changed(leaves[SEQ], lambda leaf: leaf.update(keep_until="2026-12-01T00:00:00Z"))
    crime.put_leaf("cn", SEQ, edited)
    prev = canonical.b64(leaf_hash(edited))
    crime.put_leaf("cn", SEQ + 1, changed(leaves[SEQ + 1], lambda leaf: leaf.update(prev=prev)))
    crime.expect(Depth.LEAVES, modified("cn", SEQ + 1))


@pytest.mark.parametrize(
    "spell",
    [
        lambda leaf: leaf.replace(b'"kind":', b'"kind": '),
        lambda leaf: leaf.replace(b'"v":1}', b'"v":1,"v":1}'),
        lambda leaf: leaf.replace(b'"kind":"record"', b'"kind":"\\u0072ecord"'),
        lambda leaf: leaf.replace(b'"v":1}', b'"v":2}'),
        lambda leaf: leaf.replace(b'"v":1}', b'"note":"x","v":1}'),
        lambda leaf: b"{" * 4096,
    ],
    ids=["white space", "duplicate key", "escape", "version", "unknown field", "nested"],
)
def test_another_spelling_of_a_leaf(crime: Crime, spell: Callable[[bytes], bytes]) -> None:
    crime.put_leaf("cn", SEQ, spell(crime.leaves("cn")[SEQ]))
    crime.expect(Depth.LEAVES, modified("cn", SEQ))


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\x02" + bytes(100),
        b"\x01" + bytes(100),
        b"\x01\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\x00\x00",  # says it holds a terabyte
    ],
    ids=["empty", "unknown form", "no frame", "bomb"],
)
def test_a_stored_leaf_that_does_not_unpack(crime: Crime, stored: bytes) -> None:
    crime.edit("entry", "cn", SEQ, "leaf = %s", stored)
    crime.expect(Depth.LEAVES, modified("cn", SEQ))


@pytest.mark.parametrize("tag", ["NULL", "'\\x00112233445566778899aabbccddeeff'", "'\\x00'"])
def test_an_edited_id_tag(crime: Crime, tag: str) -> None:
    crime.edit("entry", "cn", SEQ, f"id_tag = {tag}")
    crime.expect(Depth.LEAVES, modified("cn", SEQ))


@pytest.mark.parametrize("at", [0, 2, 14, -1], ids=["suite", "nonce", "ciphertext", "tag"])
def test_an_edited_envelope(crime: Crime, at: int) -> None:
    position = f"mod(length(envelope) + {at}, length(envelope))"
    flipped = f"set_byte(envelope, {position}, get_byte(envelope, {position}) # 1)"
    crime.edit("sealed", "cn", SEQ, f"envelope = {flipped}")
    crime.clean(Depth.LEAVES)
    crime.expect(Depth.ENVELOPES, modified("cn", SEQ))


@pytest.mark.parametrize("cut", ["''", "substr(envelope, 1, 40)", "substr(envelope, 1, length(envelope) - 1)"])
def test_a_shortened_envelope(crime: Crime, cut: str) -> None:
    crime.edit("sealed", "cn", SEQ, f"envelope = {cut}")
    crime.expect(Depth.ENVELOPES, modified("cn", SEQ))


def test_an_envelope_that_names_a_dictionary_nobody_has(crime: Crime) -> None:
    crime.edit("sealed", "cn", SEQ, "envelope = set_byte(envelope, 1, 250)")
    crime.expect(Depth.ENVELOPES, missing("cn", SEQ))


@pytest.mark.parametrize("column", FACET_COLUMNS)
def test_an_edited_facet(crime: Crime, column: str) -> None:
    crime.edit("sealed", "cn", SEQ, f"{column} = {OTHER_FACETS[column]}")
    crime.clean(Depth.LEAVES)
    crime.expect(Depth.ENVELOPES, modified("cn", SEQ))


@pytest.mark.parametrize("column", [*FACET_COLUMNS, "salt"])
def test_a_facet_that_was_wiped(crime: Crime, column: str) -> None:
    crime.edit("sealed", "cn", SEQ, f"{column} = NULL")
    crime.expect(Depth.ENVELOPES, modified("cn", SEQ))


@pytest.mark.parametrize(
    ("column", "value"), [(column, value) for column, values in ABSURD_FACETS.items() for value in values]
)
def test_a_facet_with_a_value_that_no_record_can_have(crime: Crime, column: str, value: str) -> None:
    crime.edit("sealed", "cn", SEQ, f"{column} = {value}")
    crime.expect(Depth.ENVELOPES, modified("cn", SEQ))


def test_an_absent_facet_that_was_given_a_value(crime: Crime) -> None:
    crime.site.ingest("cn", [(1, spelled(decision(9001, timing=None)))])
    crime.clean(Depth.ENVELOPES)
    crime.edit("sealed", "cn", 182, "ai_ms = -1")  # as the canonical bytes spell absence
    crime.expect(Depth.ENVELOPES, modified("cn", 182))


@pytest.mark.parametrize("value", ["NULL", "{column} + 1"])
@pytest.mark.parametrize("column", TAG_COLUMNS)
def test_an_edited_blind_index_shows_when_opened(crime: Crime, column: str, value: str) -> None:
    crime.edit("sealed", "cn", SEQ, f"{column} = {value.format(column=column)}")
    crime.clean(Depth.ENVELOPES)
    crime.expect(Depth.OPEN, modified("cn", SEQ))


@pytest.mark.parametrize("column", ["envelope", "salt"])
def test_two_swapped(crime: Crime, column: str) -> None:
    crime.swap("cn", column, SEQ, 90)
    crime.clean(Depth.LEAVES)
    crime.expect(Depth.ENVELOPES, modified("cn", SEQ, 90))


def test_two_swapped_wrapped_keys_show_when_opened(crime: Crime) -> None:
    crime.swap("cn", "wrapped_key", SEQ, SEQ + 1)
    crime.clean(Depth.ENVELOPES)
    crime.expect(Depth.OPEN, modified("cn", SEQ, SEQ + 1))


def test_two_records_whole_rows_swapped(crime: Crime) -> None:
    crime.edit("sealed", "cn", SEQ, "seq = -1")
    crime.edit("sealed", "cn", 90, "seq = %s", SEQ)
    crime.edit("sealed", "cn", -1, "seq = 90")
    crime.expect(Depth.ENVELOPES, modified("cn", SEQ, 90))


def test_an_envelope_sealed_anew_under_another_key(crime: Crime) -> None:
    """Same record, same place, all its keys at hand: the leaf still commits to the first sealing."""
    with crime.site.opened() as vault, vault.engine.connect() as connection:
        cn = crime.uuid("cn")
        place, row, epoch = _beside(connection, cn, SEQ)
        raw = Opener(vault.engine, vault.ring, cn).open(place, row)
        key = os.urandom(32)
        sealed = envelope.seal(raw.replace(b"accepted", b"rejected"), key, opening.context(place, row))
        for commitment in (sealed.key_commitment, canonical.unb64(str(place.key), 32)):
            wrapped = vault.ring.wrap_record_key(epoch, key, commitment)
            crime.edit("sealed", "cn", SEQ, "envelope = %s, wrapped_key = %s", sealed.envelope, wrapped)
            crime.expect(Depth.ENVELOPES, modified("cn", SEQ))
            crime.expect(Depth.OPEN, modified("cn", SEQ))


def test_one_ciphertext_that_opens_under_two_keys(crime: Crime, monkeypatch: pytest.MonkeyPatch) -> None:
    """AES-GCM does not commit to its key, so the digest of the envelope cannot tell: the key commitment must."""
    other = os.urandom(32)
    keys = [other]

    def forge(_plaintext: bytes, record_key: bytes, context: envelope.Context) -> envelope.Sealed:
        keys.append(record_key)
        return seal_under_two_keys(record_key, other, context)

    with crime.site.opened() as vault:
        monkeypatch.setattr(envelope, "seal", forge)
        seq = events.record(vault, "report.issued", {}, {"to": "an auditor"}).seq
        crime.clean(Depth.OPEN)
        with vault.engine.connect() as connection:
            _, _, epoch = _beside(connection, vault.events, seq)
        wrapped = vault.ring.wrap_record_key(epoch, other, envelope.key_commitment(keys[1]))
    crime.edit("sealed", "events", seq, "wrapped_key = %s", wrapped)
    crime.clean(Depth.ENVELOPES)
    (report, *_) = crime.expect(Depth.OPEN, modified("events", seq))
    assert report.faults[0].what == "record key is not the one the leaf commits to"


@pytest.mark.parametrize(
    "value", ["''", "substr(wrapped_key, 2)", "set_byte(wrapped_key, 59, get_byte(wrapped_key, 59) # 1)"]
)
def test_an_edited_wrapped_key_shows_when_opened(crime: Crime, value: str) -> None:
    crime.edit("sealed", "cn", SEQ, f"wrapped_key = {value}")
    crime.clean(Depth.ENVELOPES)
    crime.expect(Depth.OPEN, modified("cn", SEQ))


def test_a_record_said_to_belong_to_another_epoch_shows_when_opened(crime: Crime) -> None:
    crime.edit("sealed", "cn", SEQ, "epoch_id = epoch_id + 1")
    crime.edit(
        "sealed", "cn", 90, "epoch_id = (SELECT max(epoch_id) FROM vault.epoch WHERE ledger_id = %s)", crime.uuid("sg")
    )
    crime.clean(Depth.ENVELOPES)
    crime.expect(Depth.OPEN, modified("cn", SEQ, 90))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE vault.epoch SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) WHERE ledger_id = %s",
        "UPDATE vault.epoch SET key_ref = replace(key_ref, 'group', 'tenant') WHERE ledger_id = %s",
        "UPDATE vault.key_group SET index_key = substr(index_key, 2) WHERE ledger_id = %s",
        "UPDATE vault.key_group SET key_ref = replace(key_ref, 'group', 'tenant') WHERE ledger_id = %s",
        "DELETE FROM vault.epoch WHERE ledger_id = %s",
    ],
    ids=["epoch key", "epoch's provider key", "index key", "group's provider key", "epochs"],
)
def test_edited_keys_of_a_whole_ledger_show_when_opened(crime: Crime, statement: str) -> None:
    crime.sql(statement, crime.uuid("sg"))
    crime.clean(Depth.ENVELOPES)
    crime.expect(Depth.OPEN, modified("sg", *range(1, 46)))


def test_a_group_without_its_row_shows_when_opened(crime: Crime) -> None:
    crime.sql("DELETE FROM vault.key_group WHERE ledger_id = %s", crime.uuid("sg"))
    crime.expect(Depth.OPEN, {Found(Verdict.MISSING, "sg", seq) for seq in range(1, 46)})


def test_an_edited_ledger_key_shows_when_opened(crime: Crime) -> None:
    """Without it no record is found again, and every retry would be taken for a new record."""
    crime.sql("UPDATE vault.ledger SET id_key = substr(id_key, 2) WHERE name = 'sg'")
    crime.clean(Depth.ENVELOPES)
    crime.expect(Depth.OPEN, modified("sg", 0))


@pytest.mark.parametrize(("name", "seq"), [("cn", SEQ), ("events", DETAILED)])
def test_a_deleted_envelope(crime: Crime, name: str, seq: int) -> None:
    crime.delete(name, seq, seq + 1, tables=("sealed",))
    crime.clean(Depth.LEAVES)
    crime.expect(Depth.ENVELOPES, missing(name, seq))


@pytest.mark.parametrize(("name", "seq"), [("cn", 0), ("events", 1), ("cn", 182), ("sg", -1)])
def test_an_envelope_where_none_belongs(crime: Crime, name: str, seq: int) -> None:
    crime.sql(
        """INSERT INTO vault.sealed (ledger_id, seq, epoch_id, wrapped_key, envelope)
           SELECT %s, %s, epoch_id, wrapped_key, envelope FROM vault.sealed WHERE ledger_id = %s AND seq = %s""",
        *(crime.uuid(name), seq, crime.uuid("cn"), SEQ),
    )
    crime.expect(Depth.ENVELOPES, modified(name, seq))


@pytest.mark.parametrize("column", ["record_id = 'dec-1'", "conversation_tag = 1", "salt = '\\x00'"])
def test_columns_of_a_record_beside_an_event(crime: Crime, column: str) -> None:
    crime.edit("sealed", "events", DETAILED, column)
    crime.expect(Depth.ENVELOPES, modified("events", DETAILED))


def _beside(connection: Connection, ledger: UUID, seq: int) -> tuple[RecordLeaf | EventLeaf, SealedRow, EpochRow]:
    """Return an entry's leaf, what stands beside it, and the epoch that wraps its key."""
    (entry,) = store.fetch_entries(connection, ledger, [seq])
    place = leaf.parse(packing.unpack(entry.leaf or b""))
    assert entry.sealed is not None
    assert not isinstance(place, GenesisLeaf)
    epoch_id = entry.sealed.epoch_id
    (epoch,) = (EpochRow(ledger, *row) for row in groups.epochs(connection, ledger) if row[0] == epoch_id)
    return place, entry.sealed, epoch
