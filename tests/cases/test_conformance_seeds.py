"""No false alarms: a correct backend passes, whatever the seed."""

import pytest
from conformance_questions import QUESTIONS, ask

from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.torch import TorchBackend

pytestmark = pytest.mark.usefixtures("without_shapes")

BACKENDS = [(TorchBackend, "float64"), (TorchBackend, "float32"), (NumpyBackend, "float64")]


def alarms(backend, seeds, question, dtype):
    """Messages of seeds with which the correct backend does not pass."""
    results = {seed: ask(backend, question, dtype, seed=seed) for seed in seeds}
    return {seed: one.message for seed, one in results.items() if one.status != "passed"}


@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
@pytest.mark.parametrize("question", ["evaluation", "nonlinear", "masked", "robustness"])
def test_few_seeds_raise_no_alarm(backend, question, dtype):
    assert alarms(backend, range(1, 4), question, dtype) == {}


@pytest.mark.parametrize(
    "seeds", [pytest.param(8, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.release)]
)
@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_no_seed_raises_an_alarm(backend, question, dtype, seeds):
    assert alarms(backend, range(seeds), question, dtype) == {}
