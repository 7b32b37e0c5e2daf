"""What no report proves depends on who outside has seen the history, and on who signs."""

from __future__ import annotations

import pytest

from reports.limits import of_every
from reports.model import Identification
from tests.support.kind_models import Outside, Signer, who

SELF_ASSERTED = "When the checkpoints were made"
OWN_WITNESS = "That somebody independent has seen"
UNSIGNED = "Who wrote it. The file is not signed"
OWN_KEY = "Whose signature it is"
NOBODY = Outside(None, (), False, None, None)


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (who(assured=None, signer=None), [SELF_ASSERTED, UNSIGNED]),
        (who(assured=NOBODY, signer=Signer()), [SELF_ASSERTED, OWN_KEY]),
        (who(assured=Outside(independent=False), signer=Signer(self_signed=False)), [OWN_WITNESS]),
        (who(assured=Outside(witnessed_at=None, witnesses=()), signer=Signer(self_signed=False)), []),
        (who(assured=Outside(stamped_at=None, authority=None), signer=None), [UNSIGNED]),
    ],
    ids=["nobody", "own-key", "own-witness", "stamped-and-signed", "witnessed-and-unsigned"],
)
def test_what_is_not_proved_follows_from_who_saw_and_who_signs(page: Identification, says: list[str]) -> None:
    found = list(of_every(page))
    assert len(found) == len(says)
    assert all(sentence.startswith(begin) for sentence, begin in zip(found, says, strict=True))
