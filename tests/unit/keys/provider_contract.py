"""What every key provider must do, whoever runs it.

A provider's test module subclasses ``ProviderContract``, and ``SignerContract`` where it signs too, and gives them a
``subject`` fixture::

    class TestKeyDirectory(ProviderContract):
        @pytest.fixture
        def subject(self, tmp_path: Path) -> Subject: ...

References are fresh in every test, so that a provider with a long-lived server can keep one store for all.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol
from uuid import uuid4

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vault.core.errors import KeyGone, Modified, UsageError
from vault.keys.provider import MAX_CONTEXT_BYTES, KeyDescription, KeyProvider, KeyRef, KeyState, Signer

DUE = datetime(2029, 2, 1, tzinfo=UTC)
EARLY = DUE - timedelta(microseconds=1)
SECRET = bytes(range(32))
CONTEXT = b"contract/1"
BAD_REFS = ["", ".", "..", "../x", "a/b", "/a", "A", "aB", "-a", ".a", "a b", "a\n", "a\0", "\xe4", "a" * 129]
PROPERTY = settings(
    max_examples=25,
    deadline=None,
    # Several providers run the same test, which is what a contract is for.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


class Provider(KeyProvider, Signer, Protocol):
    """What signs too."""


@dataclass
class Subject:
    """A provider under test.

    ``again`` opens a second instance over the same keys. ``disable`` and ``enable`` are what an administrator
    does, where the provider knows such a thing.
    """

    provider: Provider
    again: Callable[[], Provider]
    disable: Callable[[KeyRef], None] | None = None
    enable: Callable[[KeyRef], None] | None = None


def new_ref() -> KeyRef:
    return f"group.{uuid4()}.2029-01.0"


def enabled_key(provider: KeyProvider) -> KeyRef:
    ref = new_ref()
    provider.create_key(ref)
    return ref


def destroyed_key(provider: KeyProvider) -> KeyRef:
    ref = enabled_key(provider)
    provider.schedule_destroy(ref, DUE)
    assert ref in provider.destroy_due(DUE)
    return ref


def assert_unusable(provider: KeyProvider, ref: KeyRef, wrapped: bytes) -> None:
    with pytest.raises(KeyGone):
        provider.wrap(ref, SECRET, CONTEXT)
    with pytest.raises(KeyGone):
        provider.unwrap(ref, wrapped, CONTEXT)
    with pytest.raises(KeyGone):
        provider.rewrap(ref, wrapped, CONTEXT)
    with pytest.raises(KeyGone):
        provider.create_key(ref)


def run_in_child(work: Callable[[], bool]) -> bool:
    """Whether ``work`` held in a forked child, which ends without running the parent's exits, or is ended."""
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        good = False
        try:
            good = work()
        finally:
            os._exit(0 if good else 1)
    return os.waitpid(child, 0)[1] == 0


class ProviderContract:
    """The contract. Subclasses give the ``subject`` fixture."""

    @pytest.fixture
    def subject(self) -> Subject:
        raise NotImplementedError("a provider's tests give their own subject")

    @pytest.fixture
    def provider(self, subject: Subject) -> Provider:
        return subject.provider

    @PROPERTY
    @given(
        secret=st.binary(min_size=32, max_size=32),
        context=st.binary(min_size=1, max_size=200),
        other=st.binary(min_size=1, max_size=200),
    )
    def test_what_is_wrapped_opens_in_its_context_only(
        self, provider: Provider, secret: bytes, context: bytes, other: bytes
    ) -> None:
        provider.create_key("contract.round-trip")
        wrapped = provider.wrap("contract.round-trip", secret, context)
        assert provider.unwrap("contract.round-trip", wrapped, context) == secret
        if other != context:
            with pytest.raises(Modified):
                provider.unwrap("contract.round-trip", wrapped, other)
            with pytest.raises(Modified):
                provider.rewrap("contract.round-trip", wrapped, other)

    def test_bytes_cannot_move_between_reference_and_context(self, provider: Provider) -> None:
        provider.create_key("contract.move")
        provider.create_key("contract.move.x")
        wrapped = provider.wrap("contract.move.x", SECRET, b"c")
        with pytest.raises(Modified):
            provider.unwrap("contract.move", wrapped, b".xc")

    def test_the_same_secret_is_never_wrapped_to_the_same_bytes(self, provider: Provider) -> None:
        ref = enabled_key(provider)
        assert len({provider.wrap(ref, SECRET, CONTEXT) for _ in range(8)}) == 8

    def test_a_secret_wrapped_by_another_key_is_refused(self, provider: Provider) -> None:
        ours, theirs = enabled_key(provider), enabled_key(provider)
        wrapped = provider.wrap(theirs, SECRET, CONTEXT)
        with pytest.raises(Modified):
            provider.unwrap(ours, wrapped, CONTEXT)

    def test_two_blobs_swapped_in_place_are_refused(self, provider: Provider) -> None:
        ref = enabled_key(provider)
        first = provider.wrap(ref, SECRET, b"first")
        second = provider.wrap(ref, bytes(32), b"second")
        with pytest.raises(Modified):
            provider.unwrap(ref, second, b"first")
        with pytest.raises(Modified):
            provider.unwrap(ref, first, b"second")

    def test_an_edited_blob_is_refused_wherever_the_edit_is(self, provider: Provider) -> None:
        ref = enabled_key(provider)
        wrapped = provider.wrap(ref, SECRET, CONTEXT)
        for at in range(len(wrapped)):
            edited = bytearray(wrapped)
            edited[at] ^= 1
            with pytest.raises(Modified):
                provider.unwrap(ref, bytes(edited), CONTEXT)

    def test_a_cut_longer_or_empty_blob_is_refused(self, provider: Provider) -> None:
        ref = enabled_key(provider)
        wrapped = provider.wrap(ref, SECRET, CONTEXT)
        for foreign in (
            b"",
            wrapped[:1],
            wrapped[:-1],
            wrapped[1:],
            wrapped + b"\0",
            bytes(len(wrapped)),
            b"x" * 40,
        ):
            with pytest.raises(Modified):
                provider.unwrap(ref, foreign, CONTEXT)

    def test_rewrapping_keeps_the_secret_and_the_older_blob(self, provider: Provider) -> None:
        ref = enabled_key(provider)
        wrapped = provider.wrap(ref, SECRET, CONTEXT)
        newer = provider.rewrap(ref, wrapped, CONTEXT)
        assert newer != wrapped
        assert provider.unwrap(ref, newer, CONTEXT) == provider.unwrap(ref, wrapped, CONTEXT) == SECRET

    @pytest.mark.parametrize("length", [0, 1, 16, 31, 33, 64])
    def test_only_32_bytes_are_wrapped(self, provider: Provider, length: int) -> None:
        ref = enabled_key(provider)
        with pytest.raises(UsageError):
            provider.wrap(ref, bytes(length), CONTEXT)

    @pytest.mark.parametrize("length", [0, MAX_CONTEXT_BYTES + 1])
    def test_a_context_has_a_length_within_bounds(self, provider: Provider, length: int) -> None:
        ref = enabled_key(provider)
        longest = bytes(MAX_CONTEXT_BYTES)
        wrapped = provider.wrap(ref, SECRET, longest)
        assert provider.unwrap(ref, wrapped, longest) == SECRET
        with pytest.raises(UsageError):
            provider.wrap(ref, SECRET, bytes(length))
        with pytest.raises(UsageError):
            provider.unwrap(ref, wrapped, bytes(length))

    @pytest.mark.parametrize("ref", BAD_REFS)
    def test_a_reference_outside_the_grammar_reaches_nothing(self, provider: Provider, ref: KeyRef) -> None:
        uses: list[Callable[[], object]] = [
            lambda: provider.create_key(ref),
            lambda: provider.wrap(ref, SECRET, CONTEXT),
            lambda: provider.unwrap(ref, bytes(61), CONTEXT),
            lambda: provider.rewrap(ref, bytes(61), CONTEXT),
            lambda: provider.describe(ref),
            lambda: provider.schedule_destroy(ref, DUE),
            lambda: provider.cancel_destroy(ref),
        ]
        if isinstance(provider, Signer):
            uses += [
                lambda: provider.create_signing_key(ref),
                lambda: provider.public_key(ref),
                lambda: provider.sign(ref, b""),
            ]
        for use in uses:
            with pytest.raises(UsageError):
                use()

    def test_the_longest_reference_works(self, provider: Provider) -> None:
        ref = f"{uuid4().hex}{'z' * 96}"
        provider.create_key(ref)
        assert provider.unwrap(ref, provider.wrap(ref, SECRET, CONTEXT), CONTEXT) == SECRET

    def test_no_use_creates_a_key(self, provider: Provider) -> None:
        ref, other = new_ref(), enabled_key(provider)
        wrapped = provider.wrap(other, SECRET, CONTEXT)  # of the right form, so that the key is looked for
        uses: list[Callable[[], object]] = [
            lambda: provider.wrap(ref, SECRET, CONTEXT),
            lambda: provider.unwrap(ref, wrapped, CONTEXT),
            lambda: provider.rewrap(ref, wrapped, CONTEXT),
            lambda: provider.schedule_destroy(ref, DUE),
            lambda: provider.cancel_destroy(ref),
        ]
        if isinstance(provider, Signer):
            uses += [lambda: provider.public_key(ref), lambda: provider.sign(ref, b"")]
        for use in uses:
            with pytest.raises(KeyGone):
                use()
        assert provider.describe(ref) == KeyDescription(KeyState.UNKNOWN)

    def test_creating_an_enabled_key_again_changes_nothing(self, provider: Provider) -> None:
        ref = enabled_key(provider)
        wrapped = provider.wrap(ref, SECRET, CONTEXT)
        provider.create_key(ref)
        assert provider.unwrap(ref, wrapped, CONTEXT) == SECRET
        assert provider.describe(ref) == KeyDescription(KeyState.ENABLED)

    def test_a_scheduled_key_is_unusable_until_cancelled(self, provider: Provider) -> None:
        ref = enabled_key(provider)
        wrapped = provider.wrap(ref, SECRET, CONTEXT)
        provider.schedule_destroy(ref, DUE)
        assert provider.describe(ref) == KeyDescription(KeyState.PENDING_DESTROY, DUE)
        assert_unusable(provider, ref, wrapped)
        provider.cancel_destroy(ref)
        assert provider.describe(ref) == KeyDescription(KeyState.ENABLED)
        assert provider.unwrap(ref, wrapped, CONTEXT) == SECRET
        assert ref not in provider.destroy_due(DUE)
        assert provider.unwrap(ref, wrapped, CONTEXT) == SECRET

    def test_a_schedule_is_only_moved_by_cancelling_it(self, provider: Provider) -> None:
        ref = enabled_key(provider)
        provider.schedule_destroy(ref, DUE.astimezone(timezone(timedelta(hours=8))))
        provider.schedule_destroy(ref, DUE)
        with pytest.raises(UsageError):
            provider.schedule_destroy(ref, EARLY)
        assert provider.describe(ref).destroy_at == DUE

    def test_a_time_without_offset_is_refused(self, provider: Provider) -> None:
        ref = enabled_key(provider)
        with pytest.raises(UsageError):
            provider.schedule_destroy(ref, DUE.replace(tzinfo=None))
        with pytest.raises(UsageError):
            provider.destroy_due(DUE.replace(tzinfo=None))
        assert provider.describe(ref).state is KeyState.ENABLED

    def test_nothing_is_destroyed_early_and_due_keys_are(self, provider: Provider) -> None:
        ref, survivor = enabled_key(provider), enabled_key(provider)
        wrapped = provider.wrap(ref, SECRET, CONTEXT)
        kept = provider.wrap(survivor, SECRET, CONTEXT)
        provider.schedule_destroy(ref, DUE)

        assert ref not in provider.destroy_due(EARLY)
        assert provider.describe(ref).state is KeyState.PENDING_DESTROY

        assert ref in provider.destroy_due(DUE)
        assert provider.describe(ref) == KeyDescription(KeyState.DESTROYED, DUE)
        assert_unusable(provider, ref, wrapped)
        assert provider.unwrap(survivor, kept, CONTEXT) == SECRET
        assert ref not in provider.destroy_due(DUE)

    def test_a_destroyed_key_never_comes_back(self, subject: Subject) -> None:
        ref = destroyed_key(subject.provider)
        for provider in (subject.provider, subject.again()):
            with pytest.raises(KeyGone):
                provider.create_key(ref)
            if isinstance(provider, Signer):
                with pytest.raises(KeyGone):
                    provider.create_signing_key(ref)
            with pytest.raises(KeyGone):
                provider.cancel_destroy(ref)
            with pytest.raises(KeyGone):
                provider.schedule_destroy(ref, DUE)
            assert provider.describe(ref).state is KeyState.DESTROYED

    def test_a_disabled_key_is_unusable_until_enabled(self, subject: Subject) -> None:
        if subject.disable is None or subject.enable is None:
            pytest.skip("this provider knows no disabled keys")
        provider, ref = subject.provider, enabled_key(subject.provider)
        wrapped = provider.wrap(ref, SECRET, CONTEXT)
        subject.disable(ref)
        assert provider.describe(ref) == KeyDescription(KeyState.DISABLED)
        assert_unusable(provider, ref, wrapped)
        provider.schedule_destroy(ref, DUE)
        provider.cancel_destroy(ref)
        assert provider.describe(ref) == KeyDescription(KeyState.DISABLED)
        subject.enable(ref)
        assert provider.unwrap(ref, wrapped, CONTEXT) == SECRET

    def test_two_instances_share_their_keys(self, subject: Subject) -> None:
        one, other = subject.provider, subject.again()
        ref = enabled_key(one)
        wrapped = other.wrap(ref, SECRET, CONTEXT)
        assert one.unwrap(ref, wrapped, CONTEXT) == SECRET

    def test_a_key_opened_here_dies_when_it_is_destroyed_there(self, subject: Subject) -> None:
        one, other = subject.provider, subject.again()
        ref = enabled_key(one)
        wrapped = one.wrap(ref, SECRET, CONTEXT)
        other.schedule_destroy(ref, DUE)
        assert_unusable(one, ref, wrapped)
        assert ref in other.destroy_due(DUE)
        assert_unusable(one, ref, wrapped)
        assert one.describe(ref).state is KeyState.DESTROYED

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # 3.12 warns of threads; the child ends at once
    def test_a_forked_worker_opens_with_what_it_inherited(self, provider: Provider) -> None:
        ref, late = enabled_key(provider), enabled_key(provider)
        wrapped, unopened = provider.wrap(ref, SECRET, CONTEXT), provider.wrap(late, SECRET, b"late")
        assert run_in_child(
            lambda: (
                provider.unwrap(ref, wrapped, CONTEXT) == SECRET and provider.unwrap(late, unopened, b"late") == SECRET
            )
        )
        assert provider.unwrap(ref, wrapped, CONTEXT) == SECRET

    def test_it_cannot_be_pickled(self, provider: Provider) -> None:
        with pytest.raises(TypeError):
            pickle.dumps(provider)


class SignerContract:
    """What a provider that also signs must do besides."""

    def test_a_signature_verifies_and_the_key_stays(self, subject: Subject) -> None:
        ref = f"checkpoint.{uuid4()}"
        public = subject.provider.create_signing_key(ref)
        signature = subject.again().sign(ref, b"checkpoint")
        assert (len(public), len(signature)) == (32, 64)
        assert subject.provider.create_signing_key(ref) == subject.provider.public_key(ref) == public
        verifier = Ed25519PublicKey.from_public_bytes(public)
        verifier.verify(signature, b"checkpoint")
        with pytest.raises(InvalidSignature):
            verifier.verify(signature, b"another")

    def test_signing_keys_are_destroyed_like_others(self, provider: Provider) -> None:
        ref = f"checkpoint.{uuid4()}"
        provider.create_signing_key(ref)
        provider.schedule_destroy(ref, DUE)
        assert ref in provider.destroy_due(DUE)
        with pytest.raises(KeyGone):
            provider.sign(ref, b"")
        with pytest.raises(KeyGone):
            provider.create_signing_key(ref)

    def test_a_key_has_one_purpose(self, provider: Provider) -> None:
        wrapping, signing = enabled_key(provider), f"checkpoint.{uuid4()}"
        provider.create_signing_key(signing)
        provider.sign(signing, b"")
        provider.wrap(wrapping, SECRET, CONTEXT)
        for use in (
            lambda: provider.wrap(signing, SECRET, CONTEXT),
            lambda: provider.create_key(signing),
            lambda: provider.sign(wrapping, b""),
            lambda: provider.create_signing_key(wrapping),
        ):
            with pytest.raises(UsageError):
                use()
