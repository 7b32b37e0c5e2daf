"""Messages of the typed decoder, said anew."""

from __future__ import annotations

import msgspec
import pytest

from vault.core.record import Record
from vault.core.schema_fault import explain

COMPARATOR = "$.confidence.comparator: is none of the allowed values: >=, >, <=, <"
PART_TYPE = "$.prompt[0].content[0].type: is none of the allowed values: text, image"


def test_messages_nobody_has_seen_yet_are_not_repeated() -> None:
    error = explain("Something new about 5105105105105100 - at `$.prompt[0]`")
    assert str(error) == "$.prompt[0]: does not fit the schema"
    assert str(explain("5105105105105100")) == "$: does not fit the schema"


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b'{"step":"x"}', "$.step: is a string where an integer is expected"),
        (b'{"prompt":true}', "$.prompt: is true or false where a string or a list is expected"),
        (b'{"schema":null}', "$.schema: required field is missing"),
        (b'{"attempt":0}', "$.attempt: must be at least 1"),
        (b'{"timing":{"ai_ms":-1}}', "$.timing.ai_ms: must be at least 0"),
        (b'{"jurisdictions":[]}', "$.jurisdictions: must have a length of at least 1"),
        (b'{"confidence":{"comparator":"x"}}', COMPARATOR),
        (b'{"prompt":[{"content":[{"type":"x"}]}]}', PART_TYPE),
        (b'{"language":"_"}', "$.language: is not a BCP 47 language tag"),
        (b'{"occurred_at":"x"}', "$.occurred_at: is not an RFC 3339 time with its offset from UTC"),
        (b'{"extra":{"A":[1e999]}}', "$.extra.*[0]: is a number out of range"),
    ],
)
def test_messages_of_the_installed_decoder(raw: bytes, line: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(raw, type=Record)
    assert str(explain(str(caught.value))) == line


def test_every_closed_vocabulary_is_listed() -> None:
    # A vocabulary that the module does not know would print an empty list of allowed values.
    for raw in (b'{"api":"x"}', b'{"relates_to":[{"kind":"x"}]}', b'{"confidence":{"direction":"x"}}'):
        with pytest.raises(msgspec.ValidationError) as caught:
            msgspec.json.decode(raw, type=Record)
        assert ", " in explain(str(caught.value)).reason
