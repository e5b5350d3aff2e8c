"""Verdicts on many networks, folded into one of each name."""

import numpy as np
import pytest

from pcbench import checks
from pcbench.cases.conformance.case import Verdicts
from pcbench.cases.conformance.draw import Draw
from pcbench.checks import Tolerance

GOOD, BAD = (
    checks.approx("loss", seen, 1.0, Tolerance(0.1, "a test"), source="§") for seen in (1.0, 2.0)
)
OPEN = checks.undecided("loss", "No bound is known.", source="§")


@pytest.mark.parametrize(
    ("asked", "status", "where"),
    [
        ((GOOD, GOOD), "passed", ""),
        ((GOOD, OPEN, OPEN), "undecided", "; 2 of 3 networks undecided"),
        (
            (OPEN, GOOD, BAD, BAD),
            "failed",
            "; 2 of 4 networks fail; 1 of 4 networks undecided",
        ),
    ],
)
def test_a_network_that_fails_is_never_hidden_and_undecided_ones_are_counted(asked, status, where):
    verdicts = Verdicts()
    for number, one in enumerate(asked, start=1):
        verdicts.add(Draw().problem(number, np.random.default_rng(0), "float64"), [one])
    [check] = verdicts
    kept = 1 + [one.status for one in asked].index(status)
    assert (check.status, check.comparisons) == (status, len(asked))
    assert check.where.startswith(f"network {kept}:")
    assert check.where.endswith(where)
