"""The door of the reference backend: what goes in, what comes out, what it refuses."""

import json

import numpy as np
import pytest

from pcbench.backends.numpy import NumpyBackend
from pcbench.contract import BackendUnavailableError, ExactInference, OdeInference
from tests.backends.reference_problems import BACKEND, BENT, modelled, posed


def test_what_is_staged_and_brought_back_is_a_copy():
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    staged = BACKEND.to_device(array)
    back = BACKEND.to_host(staged)
    array[:] = 7.0
    staged += 1.0
    np.testing.assert_array_equal(back, np.arange(6.0).reshape(2, 3))
    assert BACKEND.to_device(array.astype(np.float32)).dtype == np.float64


def test_a_model_keeps_its_parameters_whatever_becomes_of_those_given():
    problem = posed(BENT["tanh-post"])
    model = modelled(problem)
    before = model.predict(problem.x)
    for parameter in problem.parameters:
        parameter[:] = 0.0
    np.testing.assert_array_equal(model.predict(problem.x), before)


@pytest.mark.parametrize(
    ("device", "dtype", "reason"),
    [
        ("cuda", "float64", "not on 'cuda'; use --device cpu"),
        ("cpu:0", "float64", "not on 'cpu:0'; use --device cpu"),
        ("cpu", "float32", "nothing in float32; use --dtype float64"),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_remedy(device, dtype, reason):
    with pytest.raises(BackendUnavailableError, match=reason):
        NumpyBackend(device, dtype)


def test_engines_refuse_what_they_cannot_treat_with_the_remedy():
    problem = posed(BENT["tanh-post"])
    with pytest.raises(BackendUnavailableError, match="use engine: gauss_newton"):
        modelled(problem).infer(problem.x, problem.y, ExactInference())
    with pytest.raises(BackendUnavailableError, match="use method: dopri5 or bosh3"):
        modelled(problem).infer(problem.x, problem.y, OdeInference(method="adaptive_heun"))


def test_it_describes_itself_without_paths():
    told = json.dumps(BACKEND.describe())
    assert np.__version__ in told
    assert "/" not in told
