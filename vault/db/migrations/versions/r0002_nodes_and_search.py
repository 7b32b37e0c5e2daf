"""Subtree roots that make proofs quick, and indexes that make searches quick.

Revision: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NODE = """CREATE TABLE vault.node (
    ledger_id uuid NOT NULL, level smallint NOT NULL, place bigint NOT NULL, hash bytea NOT NULL,
    CONSTRAINT node_pk PRIMARY KEY (ledger_id, level, place))"""
# Only the first leads with the ledger: see decision 10.
_INDEXES = (
    """CREATE INDEX sealed_ledger_id_occurred_at_idx ON vault.sealed (ledger_id, occurred_at)
        WHERE occurred_at IS NOT NULL""",
    """CREATE INDEX sealed_conversation_tag_idx ON vault.sealed (conversation_tag)
        WHERE conversation_tag IS NOT NULL""",
    """CREATE INDEX sealed_transaction_tag_idx ON vault.sealed (transaction_tag)
        WHERE transaction_tag IS NOT NULL""",
    """CREATE INDEX sealed_customer_tag_idx ON vault.sealed (customer_tag)
        WHERE customer_tag IS NOT NULL""",
)
_DISTRIBUTE = """
    SELECT create_distributed_table('vault.node', 'ledger_id')
    WHERE NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = 'vault.node'::regclass)"""


def upgrade() -> None:
    op.execute("SET LOCAL citus.multi_shard_modify_mode = 'sequential'")
    op.execute(_NODE)
    _distribute()
    # Append-only for the owner too, as every table. A wrong node costs time, and no proof goes out from it.
    op.execute(
        """CREATE TRIGGER node_append_only BEFORE UPDATE OR DELETE ON vault.node
            FOR EACH ROW EXECUTE FUNCTION vault.refuse_change()"""
    )
    op.execute(
        """CREATE TRIGGER node_no_truncate BEFORE TRUNCATE ON vault.node
            FOR EACH STATEMENT EXECUTE FUNCTION vault.refuse_change()"""
    )
    op.execute("REVOKE ALL ON vault.node FROM PUBLIC")
    op.execute("GRANT SELECT, INSERT ON vault.node TO reasonvault_app")
    # Ten million rows take longer than other statements may. Reading goes on meanwhile, appends wait.
    op.execute("SET LOCAL statement_timeout = '1h'")
    for statement in _INDEXES:
        op.execute(statement)


def _distribute() -> None:
    """Spread the table by ledger where Citus is installed; running it again changes nothing."""
    present = op.get_bind().execute(text("SELECT 1 FROM pg_extension WHERE extname = 'citus'")).scalar()
    if present:
        op.execute(_DISTRIBUTE)


def downgrade() -> None:
    raise RuntimeError("this downgrade would lose evidence: restore a backup instead")
