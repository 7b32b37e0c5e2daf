"""Bring a database to the schema this version needs. Runs as the owner; the application's role cannot."""

from __future__ import annotations

from importlib import resources

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from vault.core.errors import UsageError
from vault.db.engine import connect, translated
from vault.db.tables import SCHEMA


def upgrade(owner_dsn: str) -> str:
    """Migrate to the newest schema and return its revision. Running it again changes nothing.

    Each migration is one transaction, so a crash half way leaves the revision before it.

    Raises:
        UsageError: the database is from a newer version of reasonvault.
        Unavailable: it cannot be reached or locked.
    """
    engine = connect(owner_dsn, role=None)
    try:
        with translated(), engine.connect() as connection:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError:
        raise UsageError("the database was migrated by a newer reasonvault: update this installation") from None
    finally:
        engine.dispose()
    return newest()


def newest() -> str:
    """Return the revision this version needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def current(connection: Connection) -> str | None:
    """Return the revision the database has, None before the first migration."""
    with translated():
        exists = connection.execute(text(f"SELECT to_regclass('{SCHEMA}.alembic_version')")).scalar()
        if exists is None:
            return None
        options = {"version_table_schema": SCHEMA}
        return MigrationContext.configure(connection, opts=options).get_current_revision()


def require_current(connection: Connection) -> None:
    """Raise UsageError unless the schema is the one this version needs."""
    have, need = current(connection), newest()
    if have != need:
        raise UsageError(
            f"the database schema is {have or 'absent'}, this version needs {need}: run 'reasonvault db migrate'"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.files("vault.db") / "migrations"))
    return config
