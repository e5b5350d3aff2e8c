"""What every trainer refuses, before anything is lost."""

import numpy as np
import pytest

from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.torch import TorchBackend
from pcbench.contract import BackendUnavailableError, Sgd, TrainingSettings
from pcbench.networks import NetworkSpec

SAMPLES = 6
SETTINGS = {objective: TrainingSettings(objective, Sgd(), 0.1) for objective in ("loss", "energy")}


def jax_backend():
    pytest.importorskip("jax")
    from pcbench.backends.jax import JaxBackend

    return JaxBackend()


@pytest.fixture(params=[TorchBackend, NumpyBackend, jax_backend], ids=["torch", "numpy", "jax"])
def start(request):
    """What makes a trainer of each sort of rule, of a network without replicas."""
    backend = request.param()
    network, rng = NetworkSpec((4, 3, 2)), np.random.default_rng(0)
    model = backend.build(network, [rng.normal(size=shape) for shape in network.shapes])
    x, y = (backend.to_device(rng.normal(size=(SAMPLES, width))) for width in (4, 2))
    return lambda objective: backend.trainer(model, x, y, SETTINGS[objective])


@pytest.mark.parametrize("objective", SETTINGS)
def test_where_there_are_no_replicas_none_is_kept(start, objective):
    trainer = start(objective)
    before = trainer.parameters()
    with pytest.raises(BackendUnavailableError, match="without replicas has none to keep"):
        trainer.keep([0])
    for one, other in zip(before, trainer.parameters(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("objective", SETTINGS)
@pytest.mark.parametrize("row", [SAMPLES, -SAMPLES - 1])
def test_a_row_that_the_data_have_not_is_none_of_them(start, objective, row):
    with pytest.raises(IndexError):
        start(objective).run(1, np.array([[0, row]]))


@pytest.mark.parametrize("objective", SETTINGS)
@pytest.mark.parametrize(
    ("run", "said"),
    [
        ((0, None, 1), "takes and records a step at least, not 0"),
        ((1, None, 0), "and every 0"),
        ((1, np.array([[0], [1]]), 1), "a run of 1 steps takes as many batches, not 2"),
    ],
)
def test_a_run_that_is_none_is_refused_before_a_step(start, objective, run, said):
    trainer = start(objective)
    before = trainer.parameters()
    with pytest.raises(ValueError, match=said):
        trainer.run(*run)
    for one, other in zip(before, trainer.parameters(), strict=True):
        np.testing.assert_array_equal(one, other)
