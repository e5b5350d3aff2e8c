"""Replicas that leave the range of the dtype hide nothing that others, or the backend, do wrong."""

import numpy as np
import pytest

from pcbench.audit import FaultyTrainer
from pcbench.backends.torch import TorchBackend
from tests.cases.faulty.catalogued import CATALOGUE
from tests.cases.faulty.trainers import MALFORMED, training_with
from tests.judges.training_problems import NETWORKS, failed, judge, pose, settings

# A trainer in NumPy that diverges says so, and a judge has to hear it from the numbers alone.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{what} encountered:RuntimeWarning:{where}")
    for what in ("overflow", "invalid value")
    for where in ("pcbench.audit", "numpy")
]
HUGE = 1e120
STEP = "parameters after a step"


def where_one_diverges(trainer, learner="BP", *, place, backend=None):
    problem, parameters = pose(dtype="float64", **NETWORKS["linear"])
    rates = np.full(3, 0.05)
    rates[place] = HUGE
    asked = settings(learner, rate=rates)
    backend = backend or training_with(trainer)(dtype="float64")
    return judge(backend, problem, parameters, asked, learner)


class CorruptedInBetween(FaultyTrainer):
    """Parameters become NaN after a step was taken and looked at, before the next one."""

    asked = 1

    def run(self, steps, batches=None, every=1):
        self.asked = 0
        return super().run(steps, batches, every)

    def parameters(self):
        found, self.asked = super().parameters(), self.asked + 1
        if self.asked == 1:
            self.theta[0][-1] = np.nan
        return found


class CorruptedAtOnce(CorruptedInBetween):
    """They become NaN as soon as they were looked at for the first time."""

    asked = 0


@pytest.mark.parametrize("place", range(3))
def test_a_replica_out_of_range_leaves_its_own_part_open_and_no_more(place):
    verdicts = where_one_diverges(FaultyTrainer, place=place)
    assert failed(verdicts) == {MALFORMED}
    undecided = verdicts[MALFORMED]
    assert undecided.status == "undecided"
    assert undecided.message.startswith("Training diverged at step 2 at learning rate 0.05, 1e+120")
    assert undecided.where == f"replica {place + 1}"
    # Of two or all others, three steps: the first one counts those of all replicas.
    assert verdicts[STEP].comparisons > 3 * 3


@pytest.mark.parametrize("place", range(3))
def test_a_mistake_shows_in_the_replicas_that_stay_in_range(place):
    verdicts = where_one_diverges(CATALOGUE["PreviousBatch"], place=place)
    assert verdicts[STEP].status == "failed"
    assert verdicts[MALFORMED].status == "undecided"


def test_an_honest_backend_passes_with_the_replicas_that_stay_in_range():
    verdicts = where_one_diverges(None, place=1, backend=TorchBackend())
    assert failed(verdicts) == {MALFORMED}
    assert verdicts[MALFORMED].status == "undecided"


@pytest.mark.parametrize(("trainer", "step"), [(CorruptedAtOnce, 1), (CorruptedInBetween, 2)])
def test_parameters_that_are_lost_between_steps_are_a_mistake_and_no_divergence(trainer, step):
    problem, parameters = pose(dtype="float64", **NETWORKS["linear"])
    backend = training_with(trainer)(dtype="float64")
    verdicts = judge(backend, problem, parameters, settings("BP"), "BP")
    changed = verdicts["parameters brought to the host"]
    assert changed.status == "failed"
    assert changed.where == f"before step {step}"
    assert "40 of 384 numbers" in changed.message
    assert verdicts[MALFORMED].status == "failed"


def test_a_rate_that_the_dtype_does_not_hold_is_undecided_also_where_gradients_are_zero():
    problem, parameters = pose(dtype="float32", widths=(3, 4, 4, 2))
    origin = [0 * array for array in parameters]
    problem = problem.at([array[0] for array in origin])
    asked = settings("BP", rate=1e300)
    verdicts = judge(TorchBackend(dtype="float32"), problem, origin, asked, "BP")
    check = verdicts["malformed answers of training"]
    assert check.status == "undecided"
    assert "the rate itself leaves the range of float32" in check.message
