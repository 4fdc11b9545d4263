"""A thousand mutants of what is parsed from outside; `make fuzz` makes 20,000."""

from __future__ import annotations

from pathlib import Path

from . import run

MUTANTS = 1000


def test_no_mutant_ends_in_an_uncaught_exception(tmp_path: Path) -> None:
    found = list(run.results(tmp_path, list(range(MUTANTS))))
    complaints = [
        f"{result.target} {result.number}: {complaint}"
        for result in found
        for complaint in result.complaints
    ]
    assert not complaints, "\n".join(complaints[:5])
    for target in run.SHARES:
        steps = [step for result in found if result.target == target for step in result.steps]
        assert any(step.status == 0 for step in steps), f"{target}: every mutant is refused"
