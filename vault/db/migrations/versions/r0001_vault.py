"""The vault's tables, who may touch them, and what nobody may do to them.

Revision: 0001
Revises: nothing
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The schema as it was at this revision, in SQL of its own: later edits of vault.db.tables must not rewrite history.
_TABLES = (
    """CREATE TABLE vault.ledger (
        ledger_id uuid NOT NULL, tenant text NOT NULL, kind text NOT NULL, name text NOT NULL, id_key bytea NOT NULL,
        CONSTRAINT ledger_pk PRIMARY KEY (ledger_id))""",
    """CREATE TABLE vault.head (
        ledger_id uuid NOT NULL, size bigint NOT NULL, last_hash bytea NOT NULL, frontier bytea NOT NULL,
        CONSTRAINT head_pk PRIMARY KEY (ledger_id))""",
    """CREATE TABLE vault.entry (
        ledger_id uuid NOT NULL, seq bigint NOT NULL, id_tag bytea, leaf bytea NOT NULL,
        CONSTRAINT entry_pk PRIMARY KEY (ledger_id, seq),
        CONSTRAINT entry_ledger_id_id_tag_key UNIQUE (ledger_id, id_tag))""",
    """CREATE TABLE vault.key_group (
        ledger_id uuid NOT NULL, name text NOT NULL, key_ref text NOT NULL, index_key bytea NOT NULL,
        CONSTRAINT key_group_pk PRIMARY KEY (ledger_id, name))""",
    """CREATE TABLE vault.epoch (
        ledger_id uuid NOT NULL, epoch_id bigint NOT NULL, group_name text NOT NULL, key_ref text NOT NULL,
        writer text NOT NULL, day text NOT NULL, wrapped bytea NOT NULL,
        CONSTRAINT epoch_pk PRIMARY KEY (ledger_id, epoch_id))""",
    """CREATE TABLE vault.sealed (
        ledger_id uuid NOT NULL, seq bigint NOT NULL, epoch_id bigint NOT NULL, occurred_at timestamptz,
        conversation_tag bigint, transaction_tag bigint, customer_tag bigint, score double precision,
        ai_ms integer, flags integer, api smallint, outcome smallint, fidelity smallint,
        money_moved boolean, below_threshold boolean,
        record_id text, record_class text, jurisdictions text, model text,
        salt bytea, wrapped_key bytea NOT NULL, envelope bytea NOT NULL,
        CONSTRAINT sealed_pk PRIMARY KEY (ledger_id, seq))""",
)
_NAMES = ("ledger", "head", "entry", "key_group", "epoch", "sealed")
# Parents first, one subcommand an ALTER: what Citus can carry out.
_FOREIGN_KEYS = (
    """ALTER TABLE vault.head ADD CONSTRAINT head_ledger_fk
        FOREIGN KEY (ledger_id) REFERENCES vault.ledger (ledger_id)""",
    """ALTER TABLE vault.key_group ADD CONSTRAINT key_group_ledger_fk
        FOREIGN KEY (ledger_id) REFERENCES vault.ledger (ledger_id)""",
    """ALTER TABLE vault.epoch ADD CONSTRAINT epoch_key_group_fk
        FOREIGN KEY (ledger_id, group_name) REFERENCES vault.key_group (ledger_id, name)""",
)
# Ciphertext and packed leaves do not compress: trying costs time and gains nothing.
_EXTERNAL = (("entry", "leaf"), ("sealed", "salt"), ("sealed", "wrapped_key"), ("sealed", "envelope"))
_DISTRIBUTE = """
    SELECT create_distributed_table('vault.{name}', 'ledger_id')
    WHERE NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = 'vault.{name}'::regclass)"""
_REFUSE = """
    CREATE FUNCTION vault.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'vault.% is append-only: this prevents %', TG_TABLE_NAME, TG_OP
            USING ERRCODE = 'restrict_violation';
    END $$"""
_FORWARD = """
    CREATE FUNCTION vault.head_moves_forward() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.ledger_id <> OLD.ledger_id OR NEW.size <= OLD.size THEN
            RAISE EXCEPTION 'vault.head only grows: this prevents a rewind'
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$"""


def upgrade() -> None:
    op.execute("SET LOCAL citus.multi_shard_modify_mode = 'sequential'")
    for statement in _TABLES + _FOREIGN_KEYS:
        op.execute(statement)
    for table, column in _EXTERNAL:
        op.execute(f"ALTER TABLE vault.{table} ALTER COLUMN {column} SET STORAGE EXTERNAL")
    _distribute()
    _refuse_changes()
    _grant()


def _distribute() -> None:
    """Spread the tables by ledger where Citus is installed; running it again changes nothing."""
    present = op.get_bind().execute(text("SELECT 1 FROM pg_extension WHERE extname = 'citus'")).scalar()
    if not present:
        return
    for name in _NAMES:
        op.execute(_DISTRIBUTE.format(name=name))


def _refuse_changes() -> None:
    """Append-only for the owner too. The chain is the real proof; this prevents accidents and lazy attackers."""
    op.execute(_REFUSE)
    op.execute(_FORWARD)
    for name in _NAMES:
        if name != "head":
            op.execute(
                f"""CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE ON vault.{name}
                    FOR EACH ROW EXECUTE FUNCTION vault.refuse_change()"""
            )
        op.execute(
            f"""CREATE TRIGGER {name}_no_truncate BEFORE TRUNCATE ON vault.{name}
                FOR EACH STATEMENT EXECUTE FUNCTION vault.refuse_change()"""
        )
    op.execute(
        """CREATE TRIGGER head_no_delete BEFORE DELETE ON vault.head
            FOR EACH ROW EXECUTE FUNCTION vault.refuse_change()"""
    )
    op.execute(
        """CREATE TRIGGER head_forward BEFORE UPDATE ON vault.head
            FOR EACH ROW EXECUTE FUNCTION vault.head_moves_forward()"""
    )


def _grant() -> None:
    """The application reads and appends; the head is the only row it may change. It owns nothing."""
    op.execute(
        """DO $$ BEGIN
            IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'reasonvault_app') THEN
                CREATE ROLE reasonvault_app NOLOGIN;
                -- Since PostgreSQL 16 whoever makes a role may not take it on unless that is granted.
                GRANT reasonvault_app TO CURRENT_USER;
            END IF;
        END $$"""
    )
    op.execute("REVOKE ALL ON SCHEMA vault FROM PUBLIC")
    op.execute("GRANT USAGE ON SCHEMA vault TO reasonvault_app")
    for name in _NAMES:
        op.execute(f"REVOKE ALL ON vault.{name} FROM PUBLIC")
        op.execute(f"GRANT SELECT, INSERT ON vault.{name} TO reasonvault_app")
    op.execute("GRANT UPDATE (size, last_hash, frontier) ON vault.head TO reasonvault_app")
    op.execute("GRANT SELECT ON vault.alembic_version TO reasonvault_app")


def downgrade() -> None:
    raise RuntimeError("this downgrade would lose evidence: restore a backup instead")
