"""Every other backend against the reference: whatever it offers, over random networks.

One that is not installed here, or lacks its library, is skipped with the reason.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.contract import Capability
from tests.backends.reference_comparisons import (
    ARRIVING,
    RULES,
    STEPPING,
    ends_off,
    equilibrium_off,
    hessians_off,
    other,
    problem_for,
    steps_off,
    training_off,
    unrolled_off,
    values_off,
)
from tests.backends.torch.layered import CONVOLVED, DENSE

OTHERS = ("torch", "jax")
SMOOTH = ("identity", "tanh", "silu")
# In float32 a potential may round across the kink of a rectifier, or of a maximum, and all that
# comes after it changes; in float64 none of some thousand comes as near.
DRAWN = {
    "float64": {"gain": 0.7},
    "float32": {"gain": 0.7, "activations": SMOOTH, "bodies": (DENSE,)},
}
few = settings(max_examples=8, deadline=None)
fewer = settings(max_examples=4, deadline=None)

in_both_dtypes = pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for name in OTHERS for dtype in DRAWN]
)
in_float64 = pytest.mark.parametrize("name", OTHERS)


@in_both_dtypes
@few
@given(data=st.data())
def test_values_and_gradients(name, dtype, data):
    backend = other(name, dtype)
    problem = problem_for(backend, data, **DRAWN[dtype])
    assert max(values_off(backend, problem).values()) < 1


@in_both_dtypes
@pytest.mark.parametrize("engine", ["gradient", "error"])
@few
@given(data=st.data())
def test_steps_of_inference(name, dtype, engine, data):
    backend = other(name, dtype, STEPPING[engine].capability)
    problem = problem_for(backend, data, **DRAWN[dtype])
    assert max(steps_off(backend, problem, STEPPING[engine]).values()) < 1


# In float32, whether an energy rose that hardly did is a matter of a bit.
@in_float64
@few
@given(data=st.data())
def test_steps_that_are_halved(name, data):
    backend = other(name, "float64", Capability.GRADIENT_INFERENCE)
    problem = problem_for(backend, data, SMOOTH, (DENSE,), min_layers=2, gain=0.7)
    assert max(steps_off(backend, problem, STEPPING["halving"]).values()) < 1


@in_float64
@pytest.mark.parametrize("engine", ARRIVING)
@fewer
@given(data=st.data())
def test_ends_of_inference(name, engine, data):
    backend = other(name, "float64", ARRIVING[engine].capability)
    smooth = ("tanh", "silu")
    problem = problem_for(backend, data, smooth, (DENSE,), min_layers=2, max_layers=3, gain=0.5)
    apart = ends_off(backend, problem, ARRIVING[engine])
    assert apart is None or apart < 1


@in_both_dtypes
@few
@given(data=st.data())
def test_the_equilibrium_of_a_linear_network(name, dtype, data):
    backend = other(name, dtype, Capability.EXACT_INFERENCE)
    problem = problem_for(backend, data, ("identity",), (DENSE,), biases=False, gain=1.2)
    assert max(equilibrium_off(backend, problem).values()) < 1


@in_float64
@few
@given(data=st.data())
def test_hessians(name, data):
    backend = other(name, "float64", Capability.HESSIAN)
    problem = problem_for(backend, data, SMOOTH, gain=0.5)
    assert max(hessians_off(backend, problem).values()) < 1


@in_float64
@fewer
@given(data=st.data(), steps=st.integers(0, 4))
def test_hessians_through_steps_of_inference(name, data, steps):
    backend = other(name, "float64", Capability.UNROLLED_HESSIAN)
    problem = problem_for(backend, data, masked=False, gain=0.7)
    assert unrolled_off(backend, problem, steps) < 1


@in_float64
@pytest.mark.parametrize("rule", RULES)
@fewer
@given(data=st.data())
def test_training(name, rule, data):
    backend = other(name, "float64", Capability.TRAINING, Capability.GRADIENT_INFERENCE)
    problem = problem_for(backend, data, SMOOTH, (DENSE, CONVOLVED[0]), min_layers=2, gain=0.7)
    assert max(training_off(backend, problem, RULES[rule]).values()) < 1
