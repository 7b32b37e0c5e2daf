"""The key ring: round trips, and everything that must not open."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.keys.provider_contract import run_in_child
from vault.core.errors import KeyGone, KeyUnavailable, Modified, UsageError
from vault.keys import ring as ring_module
from vault.keys.keyfile import KeyDirectory
from vault.keys.provider import KeyRef
from vault.keys.ring import EpochRow, GroupRow, Ring, group_ref, tenant_ref
from vault.keys.slots import Argon2Cost

LEDGER, OTHER = UUID(int=1), UUID(int=2)
TENANT = tenant_ref(UUID(int=3))
KEY, COMMITMENT = bytes(range(32)), bytes(range(32, 64))
NOW = datetime(2029, 2, 1, tzinfo=UTC)
PROPERTY = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class CountingProvider(KeyDirectory):
    """A key directory that counts calls and can be out of reach."""

    calls = 0
    out_of_reach = False

    def wrap(self, ref: KeyRef, secret: bytes, context: bytes) -> bytes:
        self._count()
        return super().wrap(ref, secret, context)

    def unwrap(self, ref: KeyRef, wrapped: bytes, context: bytes) -> bytes:
        self._count()
        return super().unwrap(ref, wrapped, context)

    def _count(self) -> None:
        self.calls += 1
        if self.out_of_reach:
            raise KeyUnavailable("the provider is out of reach")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(tmp_path: Path, clock: Clock) -> CountingProvider:
    cost = Argon2Cost(memory_kib=8, passes=1, lanes=1)
    return CountingProvider.create(tmp_path / "keys", b"horse", clock=clock, cost=cost)


@pytest.fixture
def ring(provider: CountingProvider, clock: Clock) -> Ring:
    return Ring(provider, clock=clock)


@pytest.fixture
def group(ring: Ring) -> GroupRow:
    return ring.new_group(LEDGER, "2029-01.0")


@pytest.fixture
def epoch(ring: Ring, group: GroupRow) -> EpochRow:
    return ring.new_epoch(group, "writer-1", "2026-03-14")


def reader(provider: CountingProvider, clock: Clock) -> Ring:
    """A ring that has opened nothing."""
    return Ring(provider, clock=clock)


@PROPERTY
@given(key=st.binary(min_size=32, max_size=32), commitment=st.binary(min_size=32, max_size=32))
def test_a_record_key_comes_back(ring: Ring, epoch: EpochRow, key: bytes, commitment: bytes) -> None:
    wrapped = ring.wrap_record_key(epoch, key, commitment)
    assert len(wrapped) == 60
    assert ring.unwrap_record_key(epoch, wrapped, commitment) == key


@PROPERTY
@given(data=st.data())
def test_no_byte_of_a_wrapped_record_key_can_change(ring: Ring, epoch: EpochRow, data: st.DataObject) -> None:
    wrapped = ring.wrap_record_key(epoch, KEY, COMMITMENT)
    at = data.draw(st.integers(0, 59))
    edited = wrapped[:at] + bytes((wrapped[at] ^ data.draw(st.integers(1, 255)),)) + wrapped[at + 1 :]
    for foreign in (edited, wrapped[:at], wrapped + b"\0"):
        with pytest.raises(Modified):
            ring.unwrap_record_key(epoch, foreign, COMMITMENT)


def test_a_wrapped_record_key_has_the_layout_it_documents(clock: Clock, provider: CountingProvider) -> None:
    ring = Ring(provider, clock=clock, random=lambda length: b"\x05" * length)
    epoch = ring.new_epoch(ring.new_group(LEDGER, "open.0"), "w", "2026-03-14")
    associated = b"reasonvault/ring/record/1\0" + LEDGER.bytes + epoch.epoch_id.to_bytes(8, "big") + COMMITMENT
    nonce = b"\x05" * 12
    expected = nonce + AESGCM(b"\x05" * 32).encrypt(nonce, KEY, associated)
    assert ring.wrap_record_key(epoch, KEY, COMMITMENT) == expected


def test_the_contexts_are_what_the_module_documents(provider: CountingProvider, ring: Ring) -> None:
    group = ring.new_group(LEDGER, "held.2")
    epoch = ring.new_epoch(group, "w", "2026-03-14")
    ring.new_tenant_key(TENANT)
    ledger_key = ring.new_ledger_key(TENANT, LEDGER)
    head, named = b"reasonvault/ring/1\0", b"\x06held.2"
    number = epoch.epoch_id.to_bytes(8, "big")
    contexts = {
        (group.key_ref, group.index_key): head + b"\x05index" + LEDGER.bytes + named + bytes(8),
        (group.key_ref, epoch.wrapped): head + b"\x05epoch" + LEDGER.bytes + named + number,
        (TENANT, ledger_key): head + b"\x06ledger" + LEDGER.bytes + b"\0" + bytes(8),
    }
    for (ref, wrapped), context in contexts.items():
        assert len(provider.unwrap(ref, wrapped, context)) == 32


def test_two_wrapped_record_keys_cannot_be_swapped(ring: Ring, group: GroupRow, epoch: EpochRow) -> None:
    wrapped = ring.wrap_record_key(epoch, KEY, COMMITMENT)
    with pytest.raises(Modified):
        ring.unwrap_record_key(epoch, wrapped, KEY)
    other_epoch = ring.new_epoch(group, "writer-1", "2026-03-14")
    with pytest.raises(Modified):
        ring.unwrap_record_key(other_epoch, wrapped, COMMITMENT)


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_only_32_byte_keys_and_commitments_are_wrapped(ring: Ring, epoch: EpochRow, length: int) -> None:
    with pytest.raises(UsageError):
        ring.wrap_record_key(epoch, bytes(length), COMMITMENT)
    with pytest.raises(UsageError):
        ring.wrap_record_key(epoch, KEY, bytes(length))
    with pytest.raises(Modified):
        ring.unwrap_record_key(epoch, bytes(60), bytes(length))


ROW_EDITS: dict[str, Callable[[EpochRow, EpochRow], EpochRow]] = {
    "ledger": lambda row, _: replace(row, ledger=OTHER),
    "ledger and its key": lambda row, _: replace(row, ledger=OTHER, key_ref=group_ref(OTHER, row.group)),
    "group": lambda row, _: replace(row, group="2029-02.0"),
    "group and its key": lambda row, other: replace(row, group=other.group, key_ref=other.key_ref),
    "key alone": lambda row, other: replace(row, key_ref=other.key_ref),
    "key of a tenant": lambda row, _: replace(row, key_ref=TENANT),
    "key injected": lambda row, _: replace(row, key_ref="../x"),
    "group injected": lambda row, _: replace(row, group="../x", key_ref="../x"),
    "epoch id": lambda row, other: replace(row, epoch_id=other.epoch_id),
    "epoch id zero": lambda row, _: replace(row, epoch_id=0),
    "epoch id negative": lambda row, _: replace(row, epoch_id=-row.epoch_id),
    "epoch id too large": lambda row, _: replace(row, epoch_id=1 << 63),
    "wrapped": lambda row, other: replace(row, wrapped=other.wrapped),
    "wrapped cut": lambda row, _: replace(row, wrapped=row.wrapped[:-1]),
}


@pytest.mark.parametrize("edit", ROW_EDITS.values(), ids=ROW_EDITS)
def test_an_epoch_row_opens_only_whole(
    ring: Ring,
    provider: CountingProvider,
    clock: Clock,
    epoch: EpochRow,
    edit: Callable[[EpochRow, EpochRow], EpochRow],
) -> None:
    for ledger, name in ((OTHER, epoch.group), (LEDGER, "2029-02.0")):
        ring.new_group(ledger, name)
    ring.new_tenant_key(TENANT)
    other = ring.new_epoch(ring.new_group(LEDGER, "2029-02.0"), "writer-1", "2026-03-14")
    wrapped = ring.wrap_record_key(epoch, KEY, COMMITMENT)
    edited = edit(epoch, other)
    for opener in (ring, reader(provider, clock)):
        with pytest.raises(Modified):
            opener.unwrap_record_key(edited, wrapped, COMMITMENT)
        with pytest.raises(Modified):
            opener.wrap_record_key(edited, KEY, COMMITMENT)
        assert opener.unwrap_record_key(epoch, wrapped, COMMITMENT) == KEY


def test_index_and_ledger_keys_stay_in_their_places(ring: Ring, group: GroupRow, epoch: EpochRow) -> None:
    key = ring.open_index_key(group)
    assert len(key) == 32
    with pytest.raises(Modified):
        ring.open_index_key(replace(group, index_key=epoch.wrapped))
    with pytest.raises(Modified):
        ring.open_index_key(replace(ring.new_group(OTHER, group.group), index_key=group.index_key))
    with pytest.raises(Modified):
        ring.unwrap_record_key(replace(epoch, wrapped=group.index_key), bytes(60), COMMITMENT)

    ring.new_tenant_key(TENANT)
    wrapped = ring.new_ledger_key(TENANT, LEDGER)
    assert ring.open_ledger_key(TENANT, LEDGER, wrapped) == ring.open_ledger_key(TENANT, LEDGER, wrapped)
    with pytest.raises(Modified):
        ring.open_ledger_key(TENANT, OTHER, wrapped)
    other_tenant = tenant_ref(UUID(int=4))
    ring.new_tenant_key(other_tenant)
    with pytest.raises(Modified):
        ring.open_ledger_key(other_tenant, LEDGER, wrapped)
    assert ring.new_ledger_key(TENANT, LEDGER) != wrapped


def test_a_ledger_key_is_never_wrapped_by_a_key_that_disposal_destroys(ring: Ring, group: GroupRow) -> None:
    for use in (
        lambda: ring.new_tenant_key(group.key_ref),
        lambda: ring.new_ledger_key(group.key_ref, LEDGER),
        lambda: ring.open_ledger_key(group.key_ref, LEDGER, bytes(61)),
    ):
        with pytest.raises(UsageError):
            use()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "2029-13.0",
        "2029-1.0",
        "2029-01",
        "2029-01.",
        "2029-01.00",
        "open",
        "x.0",
        "held.-1",
        "../x.0",
        "Open.0",
    ],
)
def test_a_group_has_a_name_within_the_grammar(ring: Ring, name: str) -> None:
    with pytest.raises(UsageError):
        ring.new_group(LEDGER, name)


@pytest.mark.parametrize("name", ["2029-12.0", "open.0", "held.17", "9999-01.999999999"])
def test_every_group_name_makes_a_reference_that_providers_take(ring: Ring, name: str) -> None:
    assert ring.new_group(LEDGER, name).key_ref == f"group.{LEDGER}.{name}"


@pytest.mark.parametrize(
    ("writer", "day"),
    [
        ("", "2026-03-14"),
        ("w" * 65, "2026-03-14"),
        ("a b", "2026-03-14"),
        ("w", "2026-02-30"),
        ("w", "20260314"),
        ("w", ""),
    ],
)
def test_a_writer_and_a_day_are_checked(ring: Ring, group: GroupRow, writer: str, day: str) -> None:
    with pytest.raises(UsageError):
        ring.new_epoch(group, writer, day)


def test_an_epoch_id_is_positive_and_below_2_63(provider: CountingProvider, clock: Clock) -> None:
    for drawn, expected in ((b"\xff", (1 << 63) - 1), (b"\0", 1)):
        ring = Ring(provider, clock=clock, random=drawn.__mul__)
        assert ring.new_epoch(ring.new_group(LEDGER, "open.0"), "w", "2026-03-14").epoch_id == expected


def test_a_record_costs_no_provider_call(ring: Ring, provider: CountingProvider, group: GroupRow) -> None:
    before = provider.calls
    epoch = ring.new_epoch(group, "writer-1", "2026-03-14")
    for _ in range(100):
        ring.unwrap_record_key(epoch, ring.wrap_record_key(epoch, KEY, COMMITMENT), COMMITMENT)
    copied = pickle.loads(pickle.dumps(epoch))  # noqa: S301 - as it reaches a sealing process
    ring.wrap_record_key(copied, KEY, COMMITMENT)
    assert provider.calls == before + 1


def test_an_epoch_wraps_only_so_often_even_when_it_is_read_again(
    provider: CountingProvider, clock: Clock, group: GroupRow
) -> None:
    ring = Ring(provider, clock=clock, max_epoch_uses=3)
    epoch = ring.new_epoch(group, "writer-1", "2026-03-14")
    for _ in range(3):
        wrapped = ring.wrap_record_key(epoch, KEY, COMMITMENT)
        clock.now += 1000.0
    ring.forget(LEDGER, group.group)
    for _ in range(2):
        with pytest.raises(KeyUnavailable, match="new epoch needed"):
            ring.wrap_record_key(epoch, KEY, COMMITMENT)
    assert ring.unwrap_record_key(epoch, wrapped, COMMITMENT) == KEY


def test_what_is_open_outlasts_an_outage_until_its_time_limit(
    ring: Ring, provider: CountingProvider, clock: Clock, group: GroupRow, epoch: EpochRow
) -> None:
    ring.new_tenant_key(TENANT)
    ledger_key = ring.new_ledger_key(TENANT, LEDGER)
    wrapped = ring.wrap_record_key(epoch, KEY, COMMITMENT)
    uses: list[Callable[[], bytes]] = [
        lambda: ring.unwrap_record_key(epoch, wrapped, COMMITMENT),
        lambda: ring.wrap_record_key(epoch, KEY, COMMITMENT),
        lambda: ring.open_index_key(group),
        lambda: ring.open_ledger_key(TENANT, LEDGER, ledger_key),
    ]
    for use in uses:
        use()
    provider.out_of_reach = True
    clock.now = 299.9
    for use in uses:
        use()
    clock.now = 300.0
    for use in uses:
        with pytest.raises(KeyUnavailable):
            use()
    provider.out_of_reach = False
    for use in uses:
        use()


def test_a_group_that_was_shredded_opens_nothing_any_more(
    ring: Ring, provider: CountingProvider, group: GroupRow, epoch: EpochRow
) -> None:
    kept = ring.new_group(LEDGER, "2029-02.0")
    wrapped = ring.wrap_record_key(epoch, KEY, COMMITMENT)
    ring.open_index_key(group)
    provider.schedule_destroy(group.key_ref, NOW)
    provider.destroy_due(NOW)
    ring.forget(LEDGER, group.group)
    for use in (
        lambda: ring.unwrap_record_key(epoch, wrapped, COMMITMENT),
        lambda: ring.wrap_record_key(epoch, KEY, COMMITMENT),
        lambda: ring.open_index_key(group),
        lambda: ring.new_epoch(group, "writer-1", "2026-03-15"),
        lambda: ring.new_group(LEDGER, group.group),
    ):
        with pytest.raises(KeyGone):
            use()
    assert len(ring.open_index_key(kept)) == 32


def test_the_cache_is_bounded_and_keeps_the_counts(
    provider: CountingProvider, clock: Clock, group: GroupRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring_module, "MAX_CACHED", 4)
    ring = Ring(provider, clock=clock, max_epoch_uses=1)
    written = ring.new_epoch(group, "writer-1", "2026-03-14")
    ring.wrap_record_key(written, KEY, COMMITMENT)
    for number in range(10):
        ring.new_epoch(group, "writer-1", "2026-03-14")
        ring.open_index_key(ring.new_group(LEDGER, f"held.{number}"))
    assert len(ring._epochs) <= 4
    assert len(ring._secrets) <= 4
    with pytest.raises(KeyUnavailable, match="new epoch needed"):
        ring.wrap_record_key(written, KEY, COMMITMENT)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_worker_wraps_and_opens(ring: Ring, group: GroupRow, epoch: EpochRow) -> None:
    wrapped = ring.wrap_record_key(epoch, KEY, COMMITMENT)
    ring.forget(LEDGER, group.group)
    assert run_in_child(
        lambda: (
            ring.unwrap_record_key(epoch, wrapped, COMMITMENT) == KEY
            and ring.unwrap_record_key(epoch, ring.wrap_record_key(epoch, KEY, KEY), KEY) == KEY
        )
    )


def test_nothing_of_a_key_shows_or_travels(ring: Ring, group: GroupRow, epoch: EpochRow) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(ring)
    ring.open_index_key(group)
    assert repr(ring) == "Ring(keyfile)"
    assert "wrapped" not in repr(epoch)
    assert "index_key" not in repr(group)
    ring.close()
    assert (ring._epochs, ring._secrets) == ({}, {})
