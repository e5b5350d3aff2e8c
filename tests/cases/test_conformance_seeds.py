"""No false alarms: a correct backend passes, whatever the seed.

Before a release, or where a tolerance has changed, ask with two hundred (40 minutes of a core):

    PCBENCH_SEEDS=200 pytest -m slow --dist=load tests/cases/test_conformance_seeds.py
"""

import os

import pytest
from conformance_questions import QUESTIONS, ask

from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.torch import TorchBackend

pytestmark = pytest.mark.usefixtures("without_shapes")

SEEDS = int(os.environ.get("PCBENCH_SEEDS", "8"))
BACKENDS = [(TorchBackend, "float64"), (TorchBackend, "float32"), (NumpyBackend, "float64")]


def alarms(backend, seeds, question, dtype):
    """Messages of seeds with which the correct backend does not pass."""
    results = {seed: ask(backend, question, dtype, seed=seed) for seed in seeds}
    return {seed: one.message for seed, one in results.items() if one.status != "passed"}


@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
@pytest.mark.parametrize("question", ["evaluation", "nonlinear", "masked", "robustness"])
def test_few_seeds_raise_no_alarm(backend, question, dtype):
    assert alarms(backend, range(1, 4), question, dtype) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_no_seed_raises_an_alarm(backend, question, dtype):
    assert alarms(backend, range(SEEDS), question, dtype) == {}
