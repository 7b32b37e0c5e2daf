"""What keeping and destroying need: rule books, frozen sets, jobs, and a role that may move and delete.

Revision: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Rows that nobody can repair are worth forging: what lies under a digest is what it names, or it does not get in.
_TABLES = (
    """CREATE TABLE vault.rulebook (
        ledger_id uuid NOT NULL, digest bytea NOT NULL, content bytea NOT NULL,
        CONSTRAINT rulebook_pk PRIMARY KEY (ledger_id, digest),
        CONSTRAINT rulebook_digest_check CHECK (digest = sha256(content)))""",
    """CREATE TABLE vault.selection (
        ledger_id uuid NOT NULL, digest bytea NOT NULL, content bytea NOT NULL,
        CONSTRAINT selection_pk PRIMARY KEY (ledger_id, digest),
        CONSTRAINT selection_digest_check CHECK (digest = sha256(content)))""",
    """CREATE TABLE vault.job (
        ledger_id uuid NOT NULL, name text NOT NULL, due timestamptz NOT NULL,
        worker text NOT NULL, lease_until timestamptz NOT NULL, attempts integer NOT NULL,
        finished_at timestamptz, outcome text,
        CONSTRAINT job_pk PRIMARY KEY (ledger_id, name, due))""",
)
_NAMES = ("rulebook", "selection", "job")
_DISTRIBUTE = """
    SELECT create_distributed_table('vault.{name}', 'ledger_id')
    WHERE NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = 'vault.{name}'::regclass)"""

_STATE = "ALTER TABLE vault.key_group ADD COLUMN state text NOT NULL DEFAULT 'live'"
_STATE_CHECK = """ALTER TABLE vault.key_group ADD CONSTRAINT key_group_state_check
    CHECK (state IN ('live', 'closing', 'destroyed'))"""
# Finding what is in a group: by its epochs, whose ids are random (decision 10).
_INDEX = "CREATE INDEX sealed_epoch_id_idx ON vault.sealed (epoch_id)"

# The application takes the next generation, past some whose keys died before they had a row (vault.provision). Only a
# replayed journal, as retention, may fill gaps. A name that is there already is left to the primary key.
_FUNCTIONS = (
    """CREATE FUNCTION vault.group_begins_alive() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        highest bigint;
    BEGIN
        IF EXISTS (SELECT 1 FROM vault.key_group WHERE ledger_id = NEW.ledger_id AND name = NEW.name) THEN
            RETURN NEW;
        END IF;
        IF NEW.name !~ '^([0-9]{4}-(0[1-9]|1[0-2])|open|held)[.](0|[1-9][0-9]{0,8})$'
            OR NEW.key_ref <> 'group.' || NEW.ledger_id::text || '.' || NEW.name OR NEW.state <> 'live' THEN
            RAISE EXCEPTION 'vault.key_group begins with living groups: this prevents a key under another name'
                USING ERRCODE = 'restrict_violation';
        END IF;
        SELECT coalesce(max(split_part(name, '.', 2)::bigint), -1) INTO highest FROM vault.key_group
            WHERE ledger_id = NEW.ledger_id AND split_part(name, '.', 1) = split_part(NEW.name, '.', 1);
        IF current_user NOT IN ('reasonvault_retention', pg_get_userbyid(
                (SELECT relowner FROM pg_class WHERE oid = TG_RELID)))
            AND split_part(NEW.name, '.', 2)::bigint NOT BETWEEN highest + 1 AND highest + 16 THEN
            RAISE EXCEPTION 'vault.key_group grows by the next generation: this prevents using them up'
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$""",
    """CREATE FUNCTION vault.epoch_names_its_group() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.key_ref <> 'group.' || NEW.ledger_id::text || '.' || NEW.group_name THEN
            RAISE EXCEPTION 'vault.epoch names its group: this prevents a key under another name'
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$""",
    """CREATE FUNCTION vault.record_leaves_a_closed_group() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (
            SELECT 1 FROM vault.epoch e JOIN vault.key_group g ON g.ledger_id = e.ledger_id AND g.name = e.group_name
            WHERE e.ledger_id = OLD.ledger_id AND e.epoch_id = OLD.epoch_id AND g.state = 'live')
            OR NOT EXISTS (
            SELECT 1 FROM vault.epoch e JOIN vault.key_group g ON g.ledger_id = e.ledger_id AND g.name = e.group_name
            WHERE e.ledger_id = NEW.ledger_id AND e.epoch_id = NEW.epoch_id AND g.state = 'live') THEN
            RAISE EXCEPTION 'vault.sealed moves out of closed groups, into living ones: this prevents losing a record'
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$""",
    """CREATE FUNCTION vault.group_dies_forward() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (NEW.ledger_id, NEW.name, NEW.key_ref) IS DISTINCT FROM (OLD.ledger_id, OLD.name, OLD.key_ref) THEN
            RAISE EXCEPTION 'vault.key_group is append-only: this prevents a key under another name'
                USING ERRCODE = 'restrict_violation';
        END IF;
        IF array_position(ARRAY['live', 'closing', 'destroyed'], NEW.state)
            < array_position(ARRAY['live', 'closing', 'destroyed'], OLD.state) THEN
            RAISE EXCEPTION 'vault.key_group only goes forward: this prevents writing under a key that is to die'
                USING ERRCODE = 'restrict_violation';
        END IF;
        IF NEW.index_key <> OLD.index_key AND (NEW.index_key <> '' OR NEW.state <> 'destroyed') THEN
            RAISE EXCEPTION 'vault.key_group is append-only: this prevents losing the key of a living group'
                USING ERRCODE = 'restrict_violation';
        END IF;
        IF NEW.state = 'destroyed' AND OLD.state = 'live' THEN
            RAISE EXCEPTION 'vault.key_group goes one step at a time: this prevents destroying what was never closed'
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$""",
    """CREATE FUNCTION vault.epoch_dies_with_its_group() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (NEW.ledger_id, NEW.epoch_id, NEW.group_name, NEW.key_ref, NEW.writer, NEW.day)
            IS DISTINCT FROM (OLD.ledger_id, OLD.epoch_id, OLD.group_name, OLD.key_ref, OLD.writer, OLD.day)
            OR NEW.wrapped <> '' OR NOT EXISTS (
                SELECT 1 FROM vault.key_group
                WHERE ledger_id = OLD.ledger_id AND name = OLD.group_name AND state = 'destroyed') THEN
            RAISE EXCEPTION 'vault.epoch is append-only: this prevents losing the key of a living group'
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$""",
    """CREATE FUNCTION vault.record_outlives_no_key() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (
            SELECT 1 FROM vault.epoch e JOIN vault.key_group g ON g.ledger_id = e.ledger_id AND g.name = e.group_name
            WHERE e.ledger_id = OLD.ledger_id AND e.epoch_id = OLD.epoch_id AND g.state = 'destroyed') THEN
            RAISE EXCEPTION 'vault.sealed is append-only: this prevents deleting a record whose key lives'
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN OLD;
    END $$""",
)
_MOVABLE = ("epoch_id", "wrapped_key", "conversation_tag", "transaction_tag", "customer_tag")
_FIXED = (
    "ledger_id", "seq", "occurred_at", "score", "ai_ms", "flags", "api", "outcome", "fidelity", "money_moved",
    "below_threshold", "record_id", "record_class", "jurisdictions", "model", "salt", "envelope",
)  # fmt: skip
_TRIGGERS = (
    "DROP TRIGGER sealed_append_only ON vault.sealed",
    f"""CREATE TRIGGER sealed_fixed BEFORE UPDATE OF {", ".join(_FIXED)} ON vault.sealed
        FOR EACH ROW EXECUTE FUNCTION vault.refuse_change()""",
    f"""CREATE TRIGGER sealed_moves BEFORE UPDATE OF {", ".join(_MOVABLE)} ON vault.sealed
        FOR EACH ROW EXECUTE FUNCTION vault.record_leaves_a_closed_group()""",
    """CREATE TRIGGER sealed_no_early_delete BEFORE DELETE ON vault.sealed
        FOR EACH ROW EXECUTE FUNCTION vault.record_outlives_no_key()""",
    "DROP TRIGGER key_group_append_only ON vault.key_group",
    """CREATE TRIGGER key_group_begins BEFORE INSERT ON vault.key_group
        FOR EACH ROW EXECUTE FUNCTION vault.group_begins_alive()""",
    """CREATE TRIGGER key_group_forward BEFORE UPDATE ON vault.key_group
        FOR EACH ROW EXECUTE FUNCTION vault.group_dies_forward()""",
    """CREATE TRIGGER key_group_no_delete BEFORE DELETE ON vault.key_group
        FOR EACH ROW EXECUTE FUNCTION vault.refuse_change()""",
    "DROP TRIGGER epoch_append_only ON vault.epoch",
    """CREATE TRIGGER epoch_begins BEFORE INSERT ON vault.epoch
        FOR EACH ROW EXECUTE FUNCTION vault.epoch_names_its_group()""",
    """CREATE TRIGGER epoch_forward BEFORE UPDATE ON vault.epoch
        FOR EACH ROW EXECUTE FUNCTION vault.epoch_dies_with_its_group()""",
    """CREATE TRIGGER epoch_no_delete BEFORE DELETE ON vault.epoch
        FOR EACH ROW EXECUTE FUNCTION vault.refuse_change()""",
)
_APPEND_ONLY = ("rulebook", "selection")
_READ_BY_ALL = ("ledger", "head", "entry", "node", "sealed", "key_group", "epoch", "rulebook", "selection")


def upgrade() -> None:
    op.execute("SET LOCAL citus.multi_shard_modify_mode = 'sequential'")
    for statement in (*_TABLES, _STATE, _STATE_CHECK):
        op.execute(statement)
    _distribute()
    for statement in (*_FUNCTIONS, *_TRIGGERS):
        op.execute(statement)
    for name in _APPEND_ONLY:
        op.execute(
            f"""CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE ON vault.{name}
                FOR EACH ROW EXECUTE FUNCTION vault.refuse_change()"""
        )
    for name in _NAMES:
        op.execute(
            f"""CREATE TRIGGER {name}_no_truncate BEFORE TRUNCATE ON vault.{name}
                FOR EACH STATEMENT EXECUTE FUNCTION vault.refuse_change()"""
        )
        op.execute(f"REVOKE ALL ON vault.{name} FROM PUBLIC")
    for name in _APPEND_ONLY:
        op.execute(f"GRANT SELECT, INSERT ON vault.{name} TO reasonvault_app")
    op.execute("GRANT SELECT ON vault.job TO reasonvault_app")
    _grant_retention()
    op.execute("SET LOCAL statement_timeout = '1h'")
    op.execute(_INDEX)


def _distribute() -> None:
    """Spread the tables by ledger where Citus is installed; running it again changes nothing."""
    present = op.get_bind().execute(text("SELECT 1 FROM pg_extension WHERE extname = 'citus'")).scalar()
    if present:
        for name in _NAMES:
            op.execute(_DISTRIBUTE.format(name=name))


def _grant_retention() -> None:
    """Moving and deleting are for a role of their own, which the service never takes on.

    The owner of an embedded database from before this revision may make no roles; there retention runs as the owner,
    whom the triggers hold to the same.
    """
    bind = op.get_bind()
    known = bind.execute(text("SELECT 1 FROM pg_roles WHERE rolname = 'reasonvault_retention'")).scalar()
    if not known:
        may = bind.execute(text("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user")).scalar()
        if not may:
            return
        op.execute("CREATE ROLE reasonvault_retention NOLOGIN")
        op.execute("GRANT reasonvault_retention TO CURRENT_USER")
    op.execute("GRANT USAGE ON SCHEMA vault TO reasonvault_retention")
    for name in _READ_BY_ALL:
        op.execute(f"GRANT SELECT, INSERT ON vault.{name} TO reasonvault_retention")
    op.execute("GRANT SELECT ON vault.alembic_version TO reasonvault_retention")
    op.execute("GRANT UPDATE (size, last_hash, frontier) ON vault.head TO reasonvault_retention")
    op.execute(f"GRANT UPDATE ({', '.join(_MOVABLE)}), DELETE ON vault.sealed TO reasonvault_retention")
    op.execute("GRANT UPDATE (state, index_key) ON vault.key_group TO reasonvault_retention")
    op.execute("GRANT UPDATE (wrapped) ON vault.epoch TO reasonvault_retention")
    op.execute("GRANT SELECT, INSERT, UPDATE ON vault.job TO reasonvault_retention")


def downgrade() -> None:
    raise RuntimeError("this downgrade would lose evidence: restore a backup instead")
