"""Every entry counts once, under the worst word that names it."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from reports.verdicts import EntryVerdicts
from vault.verdict import MAX_FAULTS, LedgerReport, Verdict

SIZE = 12


def _report(*faults: tuple[Verdict, int | None, int | None], erased: int = 0) -> LedgerReport:
    report = LedgerReport(UUID(int=1), erased=erased)
    for verdict, first, last in faults:
        report.add(verdict, first, "a fault", last)
    return report


def test_nothing_found() -> None:
    verdicts = EntryVerdicts(_report(), SIZE)
    assert verdicts.counts() == {"OK": SIZE, "ERASED-BY-POLICY": 0, "FORKED": 0, "MODIFIED": 0, "MISSING": 0}
    assert verdicts.of(3) == "OK"


def test_several_faults_of_one_entry_count_once_and_the_worst_decides() -> None:
    found = _report(
        (Verdict.MISSING, 2, 6), (Verdict.MODIFIED, 4, None), (Verdict.MODIFIED, 4, None), (Verdict.FORKED, 5, None)
    )
    verdicts = EntryVerdicts(found, SIZE)
    counts = verdicts.counts()
    assert (counts["FORKED"], counts["MODIFIED"], counts["MISSING"], counts["OK"]) == (1, 1, 3, SIZE - 5)
    assert [verdicts.of(seq) for seq in (1, 2, 4, 5, 7)] == ["OK", "MISSING", "MODIFIED", "FORKED", "OK"]


def test_a_fault_of_the_whole_ledger_takes_no_entry_away() -> None:
    counts = EntryVerdicts(_report((Verdict.FORKED, None, None)), SIZE).counts()
    assert (counts["FORKED"], counts["OK"]) == (1, SIZE)


def test_what_lies_beyond_the_checkpoint_is_counted_but_is_no_entry_of_it() -> None:
    counts = EntryVerdicts(_report((Verdict.MODIFIED, SIZE + 3, None), (Verdict.MISSING, 10, 99)), SIZE).counts()
    assert (counts["MODIFIED"], counts["MISSING"], counts["OK"]) == (1, 2, SIZE - 2)


def test_faults_that_were_not_listed_are_counted() -> None:
    report = _report(*[(Verdict.MODIFIED, 1, None)] * (MAX_FAULTS + 7))
    assert EntryVerdicts(report, SIZE).counts()["MODIFIED"] == 1 + 7


def test_erased_records_are_not_called_ok() -> None:
    counts = EntryVerdicts(_report(erased=4), SIZE).counts()
    assert (counts["ERASED-BY-POLICY"], counts["OK"]) == (4, SIZE - 4)


_faults = st.lists(
    st.tuples(st.sampled_from(Verdict), st.integers(0, SIZE - 1), st.none() | st.integers(0, 4)), max_size=8
)


@given(_faults)
def test_counts_agree_with_the_entries(faults: list[tuple[Verdict, int, int | None]]) -> None:
    spread = [(verdict, first, None if more is None else first + more) for verdict, first, more in faults]
    verdicts = EntryVerdicts(_report(*spread), SIZE)
    words = [verdicts.of(seq) for seq in range(SIZE)]
    counts = verdicts.counts()
    assert {word: words.count(word) for word in counts} == counts
    for seq, word in enumerate(words):
        naming = [one for one, first, last in spread if first <= seq <= (first if last is None else last)]
        assert word == min(naming, key=lambda one: one.rank).name if naming else word == "OK"
