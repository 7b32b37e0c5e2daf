"""Wiring: the one place where parts become a vault. The command line and, later, the service come through here."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from uuid import uuid4

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Engine, text

from retention.books import InForce, current, founding
from retention.rules import RuleBook
from service import home as homes
from service import local_signer, providers, witness_settings
from service.home import Identity, SignerWatch
from service.identity.tokens import TokenIssuer, issuer_name
from service.providers import OpenBaoSettings
from vault import events, ledgers
from vault.checkpoints import Checkpoints
from vault.context import Actor, Vault
from vault.core import signer
from vault.core.canonical import b64
from vault.core.errors import Forked, KeyGone, UsageError
from vault.db import migrate, store
from vault.db.embedded import EmbeddedServer
from vault.db.engine import RETENTION_ROLE, connect, transact, translated
from vault.keys.keyfile import KeyDirectory
from vault.keys.layout import Layout
from vault.keys.memory import forbid_core_dumps
from vault.keys.provider import KeyProvider, KeyState
from vault.keys.ring import WRITE_SECONDS, Ring, tenant_ref
from vault.register import Register

DEFAULT_HOST = "reasonvault.local"
DEFAULT_REGION = "local"
_ACCESS_SIGNER = "access.1"


class Database:
    """The database behind a home: ``DATABASE_URL`` where it is set, else the embedded server, started on demand.

    With a URL, the owner's rights come from DATABASE_OWNER_URL where that is set; every session of the application
    takes on its own small role whichever login it uses.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._url = os.environ.get("DATABASE_URL")

    @cached_property
    def server(self) -> EmbeddedServer | None:
        """The embedded server, None where DATABASE_URL names another."""
        if self._url:
            return None
        return EmbeddedServer(self._home, production=os.environ.get("REASONVAULT_ENV") == "production")

    def owner_dsn(self) -> str:
        """Return a connection string that may migrate."""
        return os.environ.get("DATABASE_OWNER_URL") or self._url or self._running().dsn("owner")

    def app_dsn(self) -> str:
        """Return the application's connection string."""
        return self._url or self._running().dsn("app")

    def engine(self, connections: int = 5, *, ping: bool = True) -> Engine:
        """Return an engine in the application's role, its schema checked, that keeps so many connections.

        Raises:
            UsageError: the schema is older or newer than this version needs.
            Unavailable: the database does not answer.
        """
        engine = connect(self.app_dsn(), pool_size=connections, ping=ping)
        try:
            with translated(), engine.connect() as connection:
                migrate.require_current(connection)
        except BaseException:
            engine.dispose()
            raise
        return engine

    def retention_engine(self, connections: int = 5) -> Engine:
        """Return an engine in retention's role, its schema checked; raises like ``engine``.

        The login is DATABASE_RETENTION_URL's where that is set, else the owner's. The owner of an embedded database
        from before that role may make no roles: there retention has the owner's rights, and the triggers hold it.
        """
        dsn = os.environ.get("DATABASE_RETENTION_URL") or self.owner_dsn()
        engine = connect(dsn, role=_retention_role(dsn), pool_size=connections)
        try:
            with translated(), engine.connect() as connection:
                migrate.require_current(connection)
        except BaseException:
            engine.dispose()
            raise
        return engine

    def _running(self) -> EmbeddedServer:
        assert self.server is not None
        self.server.ensure_running()
        return self.server


def _retention_role(dsn: str) -> str | None:
    engine = connect(dsn, role=None, pool_size=1)
    try:
        with translated(), engine.connect() as connection:
            known = connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": RETENTION_ROLE})
            return None if known.scalar() is None else RETENTION_ROLE
    finally:
        engine.dispose()


def without_password(dsn: str) -> str:
    """Return a connection string or URL as key words, without its password: what may be printed."""
    words = {word: str(value) for word, value in conninfo_to_dict(dsn).items() if word != "password" or not value}
    return make_conninfo(**words)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A vault without its keys: what verification needs, and nothing that could open a record."""

    engine: Engine
    checkpoints: Checkpoints
    identity: Identity


def clock() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000


def identity(home: Path) -> Identity:
    """Return which vault lives in a home.

    Raises:
        UsageError: none does yet.
    """
    found = homes.read_identity(home)
    if found is None:
        raise UsageError(f"no vault in {home}: run 'reasonvault init' first, or set REASONVAULT_HOME")
    return found


@contextmanager
def open_sealed(home: Path) -> Iterator[Sealed]:
    """Open a vault without its passphrase."""
    found = identity(home)
    engine = Database(home).engine()
    try:
        yield Sealed(engine, _checkpoints(home, found), found)
    finally:
        engine.dispose()


@dataclass(frozen=True, slots=True)
class Opened:
    """A vault as the service holds it.

    Attributes:
        vault: for reading and deciding; what it opened it forgets after minutes.
        writing: the same, with a ring that outlasts an outage of the key provider.
        tokens: issues and reads the tokens of local accounts.
        check_keys: asks the key provider for the tenant's key; raises where it is out of reach.
    """

    vault: Vault
    writing: Vault
    tokens: TokenIssuer
    check_keys: Callable[[], None]


@contextmanager
def open_for_service(home: Path, passphrase: bytes, *, connections: int) -> Iterator[Opened]:
    """Open a vault for one worker of the service; raises like ``open_vault``.

    Args:
        connections: to the database, at the most.
    """
    found = identity(home)
    forbid_core_dumps()
    with KeyDirectory.open(home / "keys", passphrase, clock=time.monotonic) as keys:
        public = keys.create_signing_key(_ACCESS_SIGNER)
        engine = Database(home).engine(connections, ping=False)
        try:
            with _assembled(home, found, keys, engine, Actor("service", break_glass=False)) as vault:
                tokens = TokenIssuer(
                    issuer_name(found.tenant), lambda message: keys.sign(_ACCESS_SIGNER, message), public, clock
                )
                ring = Ring(vault.provider, clock=time.monotonic, cache_seconds=WRITE_SECONDS)
                with closing(ring):
                    yield Opened(vault, replace(vault, ring=ring), tokens, lambda: _check_keys(vault.provider, found))
        finally:
            engine.dispose()


def _check_keys(provider: KeyProvider, found: Identity) -> None:
    if provider.describe(tenant_ref(found.tenant)).state is not KeyState.ENABLED:
        raise KeyGone("the tenant's key is not enabled")


@contextmanager
def open_vault(home: Path, passphrase: bytes, actor: Actor | None = None) -> Iterator[Vault]:
    """Open a vault with its keys.

    Raises:
        Denied: wrong passphrase.
        UsageError, Unavailable: no vault here, or a part of it cannot be reached.
    """
    found = identity(home)
    forbid_core_dumps()
    with KeyDirectory.open(home / "keys", passphrase, clock=time.monotonic) as keys:
        engine = Database(home).engine()
        try:
            with _assembled(home, found, keys, engine, actor or homes.local_actor()) as vault:
                yield vault
        finally:
            engine.dispose()


@contextmanager
def open_for_retention(home: Path, passphrase: bytes, actor: Actor | None = None) -> Iterator[Vault]:
    """Open a vault that may also move records between groups and delete what a destroyed key leaves behind.

    For the worker and the commands of holds, disposals and keys, never for the service. Raises like ``open_vault``.
    """
    found = identity(home)
    forbid_core_dumps()
    with KeyDirectory.open(home / "keys", passphrase, clock=time.monotonic) as keys:
        engine = Database(home).retention_engine()
        try:
            with _assembled(home, found, keys, engine, actor or homes.local_actor()) as vault:
                yield vault
        finally:
            engine.dispose()


def initialise(
    home: Path,
    passphrase: bytes,
    *,
    host: str = DEFAULT_HOST,
    region: str = DEFAULT_REGION,
    openbao: OpenBaoSettings | None = None,
) -> bool:
    """Make a vault, or finish making one; running it again changes nothing.

        1. home directory    2. where keys lie, key store    3. checkpoint and tenant keys    4. vault.json
        5. database schema   6. events ledger   7. the certificate that signs reports, and the event that says so

    A crash after any step is completed by the next run: each step looks for its own result first.

    Args:
        openbao: keeps the keys of groups and of the tenant; the key directory does where there is none.

    Returns:
        Whether the vault is new.

    Raises:
        Denied: a vault is here and this is not its passphrase.
        UsageError: a vault is here, and its keys lie elsewhere.
        Forked: the home remembers an events ledger that the database does not have.
    """
    homes.prepare(home)
    providers.choose(home, openbao, new=homes.read_identity(home) is None)
    with _key_directory(home, passphrase) as keys:
        found = homes.read_identity(home)
        # Only a new vault makes its record: one that is lost has forgotten what was destroyed, and has to be restored.
        with providers.opened(home, keys, make=found is None) as provider:
            if found is None:
                found = Identity(1, uuid4(), uuid4(), region, host, keys.create_signing_key(signer.FIRST).hex())
                homes.write_identity(home, found)
            provider.create_key(tenant_ref(found.tenant))
        database = Database(home)
        migrate.upgrade(database.owner_dsn())
        engine = database.engine()
        try:
            with _assembled(home, found, keys, engine, homes.local_actor()) as vault:
                return _ensure_events(home, replace(vault, law=founding))
        finally:
            engine.dispose()


def rule_book(vault: Vault) -> RuleBook:
    """Return the retention rule book in force.

    Raises:
        Missing, Modified: it is not in the database, or another is in its place.
    """
    return current(vault)


def _ensure_events(home: Path, vault: Vault) -> bool:
    known = {row.ledger_id for row in transact(vault.engine, store.ledgers)}
    if vault.events not in known:
        checkpoint = vault.checkpoints.read(vault.events)
        if checkpoint is not None and checkpoint.size > 0:
            raise Forked(
                "the database does not have the events ledger this home remembers: restore its backup",
                str(vault.events),
            )
        ledgers.make(vault, vault.events, ledgers.EVENTS, "events", (), ())
    if any(True for _ in ledgers.history(vault, "vault.initialised")):
        return False
    now = datetime.fromtimestamp(vault.clock() / 1e6, UTC)
    signer = local_signer.ensure(home, vault.provider, vault.tenant, vault.tenant_key, now)
    facts = {"rulebook": b64(vault.rulebook), "region": vault.region, "report_signer": b64(signer.fingerprint)}
    events.record(vault, "vault.initialised", facts)
    return True


@contextmanager
def _key_directory(home: Path, passphrase: bytes) -> Iterator[KeyDirectory]:
    forbid_core_dumps()
    path = home / "keys"
    if (home / "vault.json").exists() and not Layout(path).manifest.exists():
        raise KeyGone(f"the key store of this vault is not in {path}: restore it from its own backup")
    if Layout(path).manifest.exists():
        opened = KeyDirectory.open(path, passphrase, clock=time.monotonic)
    else:
        opened = KeyDirectory.create(path, passphrase, clock=time.monotonic)
    with opened as keys:
        yield keys


@contextmanager
def _assembled(home: Path, found: Identity, keys: KeyDirectory, engine: Engine, actor: Actor) -> Iterator[Vault]:
    checkpoints = _checkpoints(home, found, keys.sign)
    register = Register(engine, checkpoints, found.events, events.commit)
    with providers.opened(home, keys) as provider, closing(Ring(provider, clock=time.monotonic)) as ring:
        yield Vault(
            engine=engine,
            checkpoints=checkpoints,
            ring=ring,
            provider=provider,
            tenant=str(found.tenant),
            region=found.region,
            events=found.events,
            actor=actor,
            clock=clock,
            writer=secrets.token_hex(8),
            law=InForce(engine, found.events, lambda: register.latest, register.standing),
            register=register,
            rewraps=home / "rewraps",
        )


def _checkpoints(home: Path, found: Identity, sign: Callable[[str, bytes], bytes] | None = None) -> Checkpoints:
    policy = partial(witness_settings.read, home)
    return Checkpoints(home / "checkpoints", found.host, SignerWatch(home, found), sign, policy)
