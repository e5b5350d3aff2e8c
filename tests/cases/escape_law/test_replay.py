"""How far a replayed escape time may be off: no step, but where it is crossed close to one."""

import numpy as np
import pytest

from pcbench.cases.escape_law.replay import _steps_off
from pcbench.judges.problem import Problem
from pcbench.networks import NetworkSpec

RNG = np.random.default_rng(0)
PROBLEM = Problem(
    NetworkSpec((3, 3, 3, 3), "identity", "post", False),
    [np.eye(3)] * 3,
    RNG.standard_normal((16, 3)),
    RNG.standard_normal((16, 3)),
    [],
)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_crossing_between_two_steps_leaves_no_step_of_room(dtype):
    assert _steps_off(np.array([9.5, 40.5]), PROBLEM, 0.1, dtype).tolist() == [0.5, 0.5]


def test_a_crossing_at_a_step_may_be_counted_with_the_next():
    assert _steps_off(np.array([10.0, 10.0 - 1e-15]), PROBLEM, 0.1, "float64").tolist() == [1.5] * 2


def test_single_precision_leaves_room_for_many_steps_of_rounding_and_no_tenth_of_them():
    times = np.array([100.5, 1000.5, 10_000.5])
    allowed = _steps_off(times, PROBLEM, 0.1, "float32")
    assert (allowed >= 0.5).all()
    assert (2 * allowed[:2] < 0.1 * times[:2]).all()
    assert (_steps_off(times, PROBLEM, 0.1, "float64") == 0.5).all()
