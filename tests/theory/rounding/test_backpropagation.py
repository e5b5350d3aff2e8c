"""Rounding of backpropagation in any network: float32 stays within, and little else does."""

import numpy as np
import pytest
from hypothesis import example, given, settings

from pcbench.backends.torch import TorchBackend
from pcbench.networks import NetworkSpec
from pcbench.networks.specification import Convolution
from pcbench.theory.nonlinear.layered import Layered, layered_loss_gradients
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.passes import backpropagation_rounding
from tests.theory.float32_problems import EQUAL, U, problems, stage

ACTIVATIONS = ["identity", "tanh", "relu", "leaky_relu", "silu"]
DENSE = {
    "wide": (20, 30, 30, 5),
    "deep": (6, 9, 9, 9, 9, 3),
    "narrow": (3, 2, 1, 2),
    "flat": (4, 3),
}


def problem(spec, *, std=1.0, samples=16, seed=0, masked=False, dtype="float32"):
    rng = np.random.default_rng(seed)
    weights = [
        std * rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])) for shape in spec.shapes
    ]
    biases = [0.1 * rng.standard_normal(shape) for shape in spec.bias_shapes]
    x = rng.standard_normal((samples, spec.widths[0]))
    y = rng.standard_normal((samples, spec.widths[-1]))
    parameters = [np.asarray(p, dtype).astype(float) for p in (*weights, *biases)]
    x, y = (np.asarray(a, dtype).astype(float) for a in (x, y))
    precision = (rng.random(y.shape) < 0.7).astype(float) if masked else None
    return parameters, x, y, precision


def layered(spec, parameters):
    return Layered(
        parameters[: spec.n_layers],
        parameters[spec.n_layers :] if spec.bias else None,
        spec.activation,
        spec.convention,
        [layer.image for layer in spec.convolutions],
        [layer.pool for layer in spec.convolutions],
    )


def judged(spec, parameters, x, y, precision, dtype="float32"):
    """Gradients in that dtype, the theory's, and the bounds on what is between them."""
    backend = TorchBackend(dtype=dtype)
    model = backend.build(spec, parameters)
    staged = [backend.to_device(a) for a in (x, y, precision) if a is not None]
    seen = [backend.to_host(gradient) for gradient in model.loss_gradients(*staged)]
    network = layered(spec, parameters)
    weights, biases = layered_loss_gradients(network, x, y, precision)
    u = unit_roundoff(dtype)
    off = backpropagation_rounding(network, x, y, u, precision)
    exact = [*weights, *(biases or [])]
    errors = [np.linalg.norm(a - b) for a, b in zip(seen, exact, strict=True)]
    return np.array(errors), np.array(off), np.array([np.linalg.norm(g) for g in exact])


@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("std", [1.0, 0.05])
@pytest.mark.parametrize("convention", ["post", "pre"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_stay_within_their_bound(activation, convention, std, masked):
    for widths in DENSE.values():
        spec = NetworkSpec(widths, activation, convention, bias=True)
        for seed in range(3):
            errors, off, norms = judged(spec, *problem(spec, std=std, seed=seed, masked=masked))
            assert (errors <= off).all()
            if activation in ("identity", "tanh", "silu"):
                assert (off <= 1e-3 * norms.max()).all()


def test_convolutions_stay_within_their_bound():
    layers = (Convolution((2, 4, 4), 3, 3, 2), Convolution((3, 2, 2), 4, 3, 1))
    widths = (32, 12, 16, 6, 3)
    for activation in ("tanh", "relu"):
        spec = NetworkSpec(widths, activation, "post", True, layers)
        for seed in range(3):
            errors, off, _ = judged(spec, *problem(spec, seed=seed))
            assert (errors <= off).all()


def test_the_bound_follows_the_dtype():
    spec = NetworkSpec(DENSE["wide"], "tanh", "post", bias=True)
    single = judged(spec, *problem(spec))
    double = judged(spec, *problem(spec, dtype="float64"), dtype="float64")
    assert (double[0] <= double[1]).all()
    assert (1e-10 * single[1] < double[1]).all()
    assert (double[1] < 1e-8 * single[1]).all()


@pytest.mark.parametrize("activation", ["tanh", "silu"])
def test_a_slip_is_beyond_the_bound(activation):
    spec = NetworkSpec(DENSE["deep"], activation, "post", bias=True)
    parameters, x, y, _ = problem(spec)
    _, off, _ = judged(spec, parameters, x, y, None)
    network = layered(spec, parameters)
    exact, slipped = (layered_loss_gradients(network, x, y + shift)[0] for shift in (0.0, 1e-3))
    apart = [np.linalg.norm(a - b) for a, b in zip(exact, slipped, strict=True)]
    assert (np.array(apart) > off[: len(apart)]).all()


@pytest.mark.parametrize("convention", ["post", "pre"])
def test_a_rectifier_on_its_kink_is_in_doubt(convention):
    """The potential of a hidden unit is rounding alone; its slope is 0 or 1, as that falls out."""
    spec = NetworkSpec((40, 6, 6, 2), "relu", convention)
    flipped = 0
    for seed in range(20):
        parameters, x, y, _ = problem(spec, samples=4, seed=seed)
        # Sums to zero but for what the order of terms leaves.
        x[0] = np.concatenate([x[0, :20], x[0, :20]])
        parameters[0][0] = np.concatenate([parameters[0][0, :20], -parameters[0][0, :20]])
        errors, off, norms = judged(spec, parameters, x, y, None)
        assert (errors <= off).all()
        flipped += bool((errors > 1e-4 * norms).any())
        assert (off > 1e-4 * norms).any()
    assert flipped > 5


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(problems)
@example(EQUAL)
def test_data_with_structure_stays_within_its_bound(arguments):
    staged = stage(*arguments)
    x, y = staged.on_device[0], staged.on_device[-1]
    seen = staged.host(staged.model.loss_gradients(x, y, staged.weights_of_outputs))
    x, *_, y = staged.activities
    weights, biases = layered_loss_gradients(staged.judged, x, y, staged.precision)
    off = backpropagation_rounding(staged.judged, x, y, U, staged.precision)
    for a, b, bound in zip(seen, [*weights, *(biases or [])], off, strict=True):
        assert np.linalg.norm(a - b) <= bound


def test_a_tolerance_is_a_function_of_the_problem_alone():
    spec = NetworkSpec(DENSE["deep"], "tanh", "post", bias=True)
    assert (judged(spec, *problem(spec))[1] == judged(spec, *problem(spec))[1]).all()
