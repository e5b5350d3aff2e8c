"""Bounds on the rounding of an evaluation hold for an honest one, and are not vacuous."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench import theory
from pcbench.backends.torch import TorchBackend
from pcbench.networks import Convolution, LecunNormal, NetworkSpec

CONVOLVED = (Convolution((2, 4, 4), 3, 3, 2),)


def stage(network, seed, samples=6):
    """Return network, activities that fit float32, and the backend's model in float32."""
    rng = np.random.default_rng(seed)

    def fitting(array):
        return np.asarray(array, np.float32).astype(np.float64)

    weights = [fitting(w) for w in LecunNormal().draw(network, rng)]
    biases = [fitting(0.1 * rng.standard_normal(s)) for s in network.bias_shapes]
    judged = theory.Layered(
        weights,
        biases or None,
        network.activation,
        network.convention,
        [c.image for c in network.convolutions],
        [c.pool for c in network.convolutions],
    )
    activities = [fitting(rng.standard_normal((samples, width))) for width in network.widths]
    backend = TorchBackend("cpu", "float32")
    model = backend.build(network, [*weights, *biases])
    return judged, activities, backend, model, [backend.to_device(z) for z in activities]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["identity", "tanh", "relu", "leaky_relu", "silu"]),
    st.sampled_from(["post", "pre"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_float32_stays_inside(activation, convention, bias, convolved, seed):
    widths = (32, 12, 20, 3) if convolved else (30, 40, 20, 3)
    network = NetworkSpec(widths, activation, convention, bias, CONVOLVED if convolved else ())
    judged, activities, backend, model, staged = stage(network, seed)
    bound = theory.layered_rounding(judged, activities, theory.unit_roundoff("float32"))
    energies = backend.to_host(model.energies(staged))
    exact = theory.layered_energies(judged, activities)
    assert (np.abs(energies - exact) <= bound.energies).all()
    weights, biases = theory.energy_gradients(judged, activities)
    gradients = [backend.to_host(g) for g in model.energy_gradients(staged)]
    for ours, theirs, allowed in zip(
        gradients, [*weights, *(biases or [])], [*bound.gradients, *bound.biases], strict=False
    ):
        assert np.linalg.norm(ours - theirs) <= allowed


@pytest.mark.parametrize("activation", ["identity", "tanh", "silu"])
def test_bounds_scale_with_the_dtype_and_leave_few_digits_open(activation):
    network = NetworkSpec((30, 40, 20, 3), activation)
    judged, activities, *_ = stage(network, 0)
    single = theory.layered_rounding(judged, activities, theory.unit_roundoff("float32"))
    double = theory.layered_rounding(judged, activities, theory.unit_roundoff("float64"))
    assert single.residual / double.residual == pytest.approx(2.0**29, rel=1e-3)
    slopes = theory.activity_residuals(judged, activities)
    residual = np.sqrt(sum(np.sum(slope**2) for slope in slopes))
    assert single.residual < 2e-3 * residual
    assert max(single.energies) < 1e-3 * theory.layered_energies(judged, activities).sum()


def test_a_unit_at_its_kink_is_allowed_either_slope():
    weights = [np.array([[1.0, -1.0]]), np.array([[1.0]])]
    judged = theory.Layered(weights, None, "relu", "post")
    u = theory.unit_roundoff("float32")
    near = [np.array([[1.0, 1.0]]), np.array([[-1.0]]), np.array([[0.5]])]
    far = [np.array([[1.0, 0.5]]), np.array([[-1.0]]), np.array([[0.5]])]
    # At the kink the first layer's gradient is 0 or e x, with an error of -1.
    assert theory.layered_rounding(judged, near, u).gradients[0] >= np.sqrt(2)
    assert theory.layered_rounding(judged, far, u).gradients[0] < 1e-4
