from __future__ import annotations

import msgspec
import pytest

from reports.told import Told, ToldDecision, ToldRelation, ToldReview
from tests.support.records import BASES, dump
from vault.core.record import Decision, Record, Relation, Review

PAIRS = ((Told, Record), (ToldDecision, Decision), (ToldReview, Review), (ToldRelation, Relation))


def fields(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {one.name: one.encode_name for one in msgspec.structs.fields(kind)}


@pytest.mark.parametrize(("told", "whole"), PAIRS)
def test_what_is_read_has_the_names_of_a_record(told: type[msgspec.Struct], whole: type[msgspec.Struct]) -> None:
    assert fields(told).items() <= fields(whole).items()


@pytest.mark.parametrize("name", sorted(BASES))
def test_what_is_read_is_what_the_whole_record_says(name: str) -> None:
    raw = dump(BASES[name])
    told, whole = msgspec.json.decode(raw, type=Told), msgspec.json.decode(raw, type=Record)
    assert (told.step, told.is_ai) == (whole.step, whole.is_ai)
    assert agree(told, whole)


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"schema":"reasoning-log/2"}', b'{"schema":"reasoning-log/1"}'])
def test_what_is_no_record_is_refused(raw: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        msgspec.json.decode(raw, type=Told)


def agree(told: object, whole: object) -> bool:
    """Say whether everything that ``told`` has is in ``whole``."""
    if isinstance(told, list) and isinstance(whole, list):
        return len(told) == len(whole) and all(agree(one, other) for one, other in zip(told, whole, strict=True))
    if isinstance(told, msgspec.Struct) and type(told) is not type(whole):
        return all(agree(getattr(told, name), getattr(whole, name)) for name in fields(type(told)))
    return told == whole
