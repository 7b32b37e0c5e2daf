"""Connections: one engine a process, least privilege, driver errors translated in one place."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.errors import Diagnostic
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vault.core.errors import Forked, Misconfigured, Unavailable, UnknownOutcome, VaultError

APP_ROLE = "reasonvault_app"
RETENTION_ROLE = "reasonvault_retention"
"""May also move records between groups and delete what a destroyed key leaves behind. No login: the owner's sessions
take it on."""

# A head that somebody holds for longer than this is held by a session that hangs; the transaction is tried again.
_OPTIONS = "-c TimeZone=UTC -c lock_timeout=5s"
# A commit that returns before it is durable must not be the server's default for us. Stronger settings stay.
_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
_RETRYABLE = ("40001", "40P01", "55P03")
_RETRYABLE_CLASSES = ("08", "57P")
_DISK_FULL = "53100"
_UNIQUE_VIOLATION = "23505"
_Result = TypeVar("_Result")


def connect(dsn: str, *, role: str | None = APP_ROLE, pool_size: int = 5, ping: bool = True) -> Engine:
    """Return an engine for a libpq connection string or URL.

    Args:
        role: the role every session takes on, so that one owner URL still gives the application least privilege; None
            keeps the login's own rights (migrations).
        ping: ask a connection whether it lives before each use. Without it the first use after a server's restart may
            fail, which ``transact`` answers by trying again.
    """

    def open_connection() -> psycopg.Connection[Any]:
        return psycopg.connect(dsn, application_name="reasonvault", options=_OPTIONS)

    engine = create_engine(
        "postgresql+psycopg://",
        creator=open_connection,
        pool_size=pool_size,
        pool_pre_ping=ping,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: psycopg.Connection[Any], _record: object) -> None:
        if role is not None:
            connection.execute(f"SET ROLE {role}")  # a constant of ours, never input
            connection.execute(_DURABLE)
            connection.commit()

    return engine


@contextmanager
def translated() -> Iterator[None]:
    """Turn driver errors into the vault's; the text never carries parameters or row content."""
    try:
        yield
    except PoolTimeout:
        raise Unavailable("database: no free connection") from None
    except DBAPIError as error:
        raise _translate(error.orig, error) from None
    except psycopg.Error as error:
        raise _translate(error, error) from None


def _translate(cause: BaseException | None, error: Exception) -> VaultError:
    state = getattr(cause, "sqlstate", None) or ""
    diagnostic: Diagnostic | None = getattr(cause, "diag", None)
    # Only the primary message: DETAIL and CONTEXT can quote values of the failing row.
    said = (diagnostic.message_primary if diagnostic else None) or "connection failed or was closed"
    if state == _UNIQUE_VIOLATION:
        return Forked(f"database: two writers took the same place ({said})")
    if state == _DISK_FULL:
        return Unavailable("database: disk full; free space and run the same command again")
    if state.startswith(("28", "3D")) or state == "42501":
        return Misconfigured(f"database: {said}")
    if not state and isinstance(cause, psycopg.OperationalError):
        return Unavailable("database: cannot connect, or the connection was lost; check that the server runs")
    return Unavailable(f"database: {said} ({state or 'no state'})")


def transact(engine: Engine, work: Callable[[Connection], _Result], *, tries: int = 5) -> _Result:
    """Run ``work`` in one transaction and commit it; the whole is retried where the server asked for that.

    ``work`` must be free of effects outside the transaction. When this returns, the commit is durable.

    Raises:
        UnknownOutcome: the connection ended while committing, or the server warned (01000) that it committed without
            the durability asked for. Nobody may acknowledge it; a retry with the same ids settles it.
    """
    for attempt in range(1, tries + 1):
        committing = False
        try:
            with engine.connect() as connection:
                notices: list[str] = []
                driver = connection.connection.driver_connection
                assert isinstance(driver, psycopg.Connection)
                handler = _collector(notices)
                driver.add_notice_handler(handler)
                try:
                    connection.begin()  # told explicitly: statements that go to the driver directly begin none here
                    result = work(connection)
                    if driver.info.transaction_status is TransactionStatus.INERROR:
                        raise Unavailable("database: a statement failed unnoticed; nothing was committed")
                    committing = True
                    connection.commit()  # the commit point
                finally:
                    driver.remove_notice_handler(handler)
                if notices:
                    raise UnknownOutcome("database: committed with a warning about durability; retry the same records")
                return result
        except (DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if committing and _connection_lost(cause, error):
                raise UnknownOutcome("database: the connection ended during commit; retry the same records") from None
            if attempt == tries or not _retryable(cause, error):
                raise _translate(cause, error) from None
            time.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311 - spreads retries, keeps no secret
        except PoolTimeout:
            raise Unavailable("database: no free connection") from None
    raise AssertionError("unreachable")


def _collector(notices: list[str]) -> Callable[[Diagnostic], None]:
    def collect(diagnostic: Diagnostic) -> None:
        if diagnostic.sqlstate == "01000" and diagnostic.severity_nonlocalized == "WARNING":
            notices.append(diagnostic.sqlstate)

    return collect


def _retryable(cause: BaseException | None, error: Exception) -> bool:
    state = getattr(cause, "sqlstate", None) or ""
    return state in _RETRYABLE or state.startswith(_RETRYABLE_CLASSES) or _connection_lost(cause, error)


def _connection_lost(cause: BaseException | None, error: Exception) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    state = getattr(cause, "sqlstate", None) or ""
    return state.startswith(_RETRYABLE_CLASSES) or (not state and isinstance(cause, psycopg.OperationalError))
