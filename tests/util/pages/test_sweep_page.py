"""The page of a sweep."""

import pytest

from util.pages.sweep_page import SweepReport, SweepTrial, sweep_page

TRIALS = [
    SweepTrial("trial_000", "done", {"lr": "0.001", "netD": "basic"}, [(1, 10.0), (2, 12.0)], 12.0, 61.4),
    SweepTrial("trial_001", "pruned", {"lr": "0.1", "netD": "pixel"}, [(1, 5.0)], 5.0, 9.0, "started 2 times"),
    SweepTrial("trial_002", "done", {"lr": "0.01", "netD": "pixel"}, [(1, 11.0), (2, 14.5)], 14.5, 60.0),
    SweepTrial("trial_003", "failed", {"lr": "1", "netD": "pixel"}, remark="exit code 1"),
    SweepTrial("trial_004", "waiting"),
]


@pytest.mark.parametrize(("higher", "best"), [(True, "trial_002"), (False, "trial_000")])
def test_the_best_is_of_those_that_came_to_their_end(higher: bool, best: str) -> None:
    report = SweepReport("s", "PSNR", higher, TRIALS)
    assert report.best is not None and report.best.name == best


def test_the_page_has_curves_effects_and_a_table() -> None:
    report = SweepReport("s", "PSNR", True, TRIALS, frozenset({"lr"}), ["a fact"], {"Test:": "python test.py"})
    page = sweep_page(report)
    assert "5 trials: 2 done, 1 pruned, 1 failed, 1 waiting. PSNR: higher is better." in page
    assert "trial_002: PSNR 14.5 with lr 0.01, netD pixel." in page and "python test.py" in page
    assert "PSNR by lr" in page and "PSNR by netD" not in page
    table = page[page.index("<tbody>") :]
    rows = [name for name in table.split() if "trial_" in name]
    assert table.index("trial_002") < table.index("trial_000") < table.index("trial_001") and len(rows) >= 5
    assert "started 2 times" in page and "a fact" in page


def test_a_page_of_a_sweep_that_has_not_begun() -> None:
    page = sweep_page(SweepReport("s", "PSNR", True, TRIALS[4:]))
    assert "1 trial: 1 waiting" in page and "No epoch was measured yet." in page
