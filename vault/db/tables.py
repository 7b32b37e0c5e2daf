"""The tables. One schema, ``vault``; the same on a laptop and on a Citus cluster, so ``ledger_id`` leads every key.

    ledger     one row a ledger: its name, kind and wrapped id-tag key
    head       one row a ledger: size, Merkle frontier and last leaf hash; the row lock of the append path
    entry      the leaf, kept for ever; nobody updates or deletes it
    node       roots of complete subtrees of 256, 256**2, ... leaves: what makes a proof quick to give; no evidence
    sealed     envelope, wrapped record key, facets and blind indexes: what disposal deletes
    key_group  provider key and wrapped index key of each group
    epoch      epoch keys, wrapped by their group's provider key
    rulebook   retention rule books that were adopted here, by digest, below the events ledger
    selection  frozen sets of positions, by digest: of holds, moves and disposals
    job        runs of the worker's jobs, below the events ledger: who has which, until when; no evidence

There is no foreign key from ``sealed`` to ``entry``: its check costs a look-up a row on the write path and would say
less than the verifier, which recomputes every leaf. Columns stand widest first, since alignment is paid for in every
row.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

SCHEMA = "vault"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pk",
        "fk": "%(table_name)s_%(referred_table_name)s_fk",
        "uq": "%(table_name)s_%(column_0_name)s_%(column_1_name)s_key",
        "ix": "%(table_name)s_%(column_0_name)s_%(column_1_name)s_idx",
    },
)

ledger = Table(
    "ledger",
    metadata,
    Column("ledger_id", Uuid, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("id_key", LargeBinary, nullable=False),
    PrimaryKeyConstraint("ledger_id"),
)

head = Table(
    "head",
    metadata,
    Column("ledger_id", Uuid, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("last_hash", LargeBinary, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    PrimaryKeyConstraint("ledger_id"),
    ForeignKeyConstraint(["ledger_id"], [ledger.c.ledger_id]),
)

entry = Table(
    "entry",
    metadata,
    Column("ledger_id", Uuid, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("id_tag", LargeBinary, nullable=True),
    Column("leaf", LargeBinary, nullable=False),
    PrimaryKeyConstraint("ledger_id", "seq"),
    UniqueConstraint("ledger_id", "id_tag"),
)

node = Table(
    "node",
    metadata,
    Column("ledger_id", Uuid, nullable=False),
    Column("level", SmallInteger, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("ledger_id", "level", "place"),
)

key_group = Table(
    "key_group",
    metadata,
    Column("ledger_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("key_ref", Text, nullable=False),
    Column("index_key", LargeBinary, nullable=False),
    Column("state", Text, nullable=False, server_default="live"),
    PrimaryKeyConstraint("ledger_id", "name"),
    ForeignKeyConstraint(["ledger_id"], [ledger.c.ledger_id]),
    CheckConstraint("state IN ('live', 'closing', 'destroyed')", name="key_group_state_check"),
)

epoch = Table(
    "epoch",
    metadata,
    Column("ledger_id", Uuid, nullable=False),
    Column("epoch_id", BigInteger, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("key_ref", Text, nullable=False),
    Column("writer", Text, nullable=False),
    Column("day", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    PrimaryKeyConstraint("ledger_id", "epoch_id"),
    ForeignKeyConstraint(["ledger_id", "group_name"], [key_group.c.ledger_id, key_group.c.name]),
)

sealed = Table(
    "sealed",
    metadata,
    Column("ledger_id", Uuid, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("epoch_id", BigInteger, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=True),
    Column("conversation_tag", BigInteger, nullable=True),
    Column("transaction_tag", BigInteger, nullable=True),
    Column("customer_tag", BigInteger, nullable=True),
    Column("score", Double, nullable=True),
    Column("ai_ms", Integer, nullable=True),
    Column("flags", Integer, nullable=True),
    Column("api", SmallInteger, nullable=True),
    Column("outcome", SmallInteger, nullable=True),
    Column("fidelity", SmallInteger, nullable=True),
    Column("money_moved", Boolean, nullable=True),
    Column("below_threshold", Boolean, nullable=True),
    Column("record_id", Text, nullable=True),
    Column("record_class", Text, nullable=True),
    Column("jurisdictions", Text, nullable=True),
    Column("model", Text, nullable=True),
    Column("salt", LargeBinary, nullable=True),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    PrimaryKeyConstraint("ledger_id", "seq"),
)

Index(
    "sealed_ledger_id_occurred_at_idx",
    sealed.c.ledger_id,
    sealed.c.occurred_at,
    postgresql_where=sealed.c.occurred_at.is_not(None),
)

# Epoch ids are random numbers of 63 bits: with the ledger before them, every search of a ledger could be answered by
# it, and some would be, badly.
Index("sealed_epoch_id_idx", sealed.c.epoch_id)

rulebook = Table(
    "rulebook",
    metadata,
    Column("ledger_id", Uuid, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("ledger_id", "digest"),
    CheckConstraint("digest = sha256(content)", name="rulebook_digest_check"),
)

selection = Table(
    "selection",
    metadata,
    Column("ledger_id", Uuid, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("ledger_id", "digest"),
    CheckConstraint("digest = sha256(content)", name="selection_digest_check"),
)

job = Table(
    "job",
    metadata,
    Column("ledger_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("due", DateTime(timezone=True), nullable=False),
    Column("worker", Text, nullable=False),
    Column("lease_until", DateTime(timezone=True), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("finished_at", DateTime(timezone=True), nullable=True),
    Column("outcome", Text, nullable=True),
    PrimaryKeyConstraint("ledger_id", "name", "due"),
)

FACET_COLUMNS = (
    "record_id",
    "occurred_at",
    "jurisdictions",
    "record_class",
    "api",
    "outcome",
    "fidelity",
    "money_moved",
    "below_threshold",
    "score",
    "ai_ms",
    "flags",
    "model",
)
"""Columns of ``sealed`` in the order of vault.core.facets.Facets."""

TAG_COLUMNS = ("conversation_tag", "transaction_tag", "customer_tag")

# A blind index is a keyed digest of 64 bits, so two ledgers hardly share one: leading with the ledger would find
# nothing sooner, and cost a third of the bytes.
for _name in TAG_COLUMNS:
    Index(f"sealed_{_name}_idx", sealed.c[_name], postgresql_where=sealed.c[_name].is_not(None))

CIPHERTEXT_COLUMNS = (("entry", "leaf"), ("sealed", "salt"), ("sealed", "wrapped_key"), ("sealed", "envelope"))
"""Bytes that do not compress: STORAGE EXTERNAL from the first migration."""

ALL = (ledger, head, entry, node, key_group, epoch, sealed, rulebook, selection, job)
