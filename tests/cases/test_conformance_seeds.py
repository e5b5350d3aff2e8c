"""No false alarms: a correct backend passes, whatever the seed."""

import pytest
from conformance_questions import QUESTIONS, ask

from pcbench.backends.torch import TorchBackend

pytestmark = pytest.mark.usefixtures("without_shapes")

SEEDS = 8
"""That each question is asked with, where there is time. Two hundred take half an hour."""


def alarms(seeds, question, dtype):
    """Messages of seeds with which the correct backend does not pass."""
    results = {seed: ask(TorchBackend, question, dtype, seed=seed) for seed in seeds}
    return {seed: one.message for seed, one in results.items() if one.status != "passed"}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("question", ["evaluation", "nonlinear", "masked", "robustness"])
def test_few_seeds_raise_no_alarm(question, dtype):
    assert alarms(range(1, 4), question, dtype) == {}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_no_seed_raises_an_alarm(question, dtype):
    assert alarms(range(SEEDS), question, dtype) == {}
