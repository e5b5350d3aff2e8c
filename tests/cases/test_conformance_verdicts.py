"""Verdicts on many networks, folded into one of each name."""

import pytest

from pcbench import checks
from pcbench.cases._conformance_verdicts import Verdicts
from pcbench.checks import Tolerance

GOOD, BAD = (
    checks.approx("loss", seen, 1.0, Tolerance(0.1, "a test"), source="§") for seen in (1.0, 2.0)
)
OPEN = checks.undecided("loss", "No bound is known.", source="§")


@pytest.mark.parametrize(
    ("asked", "status", "where"),
    [
        ((GOOD, GOOD), "passed", "network 0"),
        ((GOOD, OPEN, OPEN), "undecided", "network 1; 2 of 3 networks undecided"),
        (
            (OPEN, GOOD, BAD, BAD),
            "failed",
            "network 2; 2 of 4 networks fail; 1 of 4 networks undecided",
        ),
    ],
)
def test_a_network_that_fails_is_never_hidden_and_undecided_ones_are_counted(asked, status, where):
    verdicts = Verdicts()
    for index, check in enumerate(asked):
        verdicts.add(f"network {index}", [check])
    [check] = verdicts
    assert (check.status, check.where, check.comparisons) == (status, where, len(asked))
