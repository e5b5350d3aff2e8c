"""An activation is added by one row, without a change to the package, and judged like any other."""

import numpy as np
import pytest

from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.torch import TorchBackend
from pcbench.networks import ACTIVATIONS, Activation, NetworkSpec, activation
from pcbench.runner import run_suites
from pcbench.suite import load_suites
from pcbench.theory.nonlinear.activations import Formula
from tests.helpers.plugged_in import plugged_in
from tests.helpers.recipes import recipe

pytestmark = pytest.mark.usefixtures("timed_twice", "without_shapes")

SUITE = """
suite: added
cases:
- {{id: values, kind: conformance, question: evaluation, networks: 4, draw: &draw {{
    layers: smooth, activations: [{name}], depth: [1, 3], width: [1, 5], samples: [1, 3]}}}}
- {{id: hessian, kind: conformance, question: hessian, networks: 2, draw: *draw}}
- {{id: unrolled, kind: conformance, question: unrolled_hessian, networks: 2, draw: *draw}}
- {{id: inference, kind: conformance, question: inference, engine: gauss_newton, networks: 2,
    draw: *draw}}
- id: equilibrium
  kind: equilibrium
  data: {{name: toy_gaussian, samples: 4, dimension: 3}}
  network: {{hidden_layers: 2, width: 4, activation: {name}, convention: pre, bias: true}}
  engines:
    gauss-newton: {{engine: gauss_newton, residual: 1e-8}}
    gradient: {{engine: gradient, step: 0.2, residual: 1e-4, max_steps: 5000}}
- id: origin
  kind: origin_curvature
  data: {{name: toy_gaussian, samples: 4, dimension: 3}}
  network: {{hidden_layers: 2, width: 3, activation: {name}, convention: pre}}
"""


RECIPE = recipe("Add an activation")
SOFTPLUS, value = RECIPE["SOFTPLUS"], RECIPE["value"]
slope, curvature = RECIPE["slope"], RECIPE["curvature"]
STEEP = Activation(
    "steep", value, lambda xp, a: 1.001 * slope(xp, a), curvature, max_slope=1.1, max_curvature=0.25
)
STRAIGHT = Activation(
    "straight", value, slope, lambda xp, a: 0 * a, max_slope=1.0, max_curvature=0.25
)


@pytest.fixture(autouse=True)
def _rows_added():
    with plugged_in({row.name: row for row in (SOFTPLUS, STEEP, STRAIGHT)}, ACTIVATIONS):
        yield


def statuses(tmp_path, name, backend, select=""):
    if backend == "jax":
        pytest.importorskip("jax")
    path = tmp_path / "added.yaml"
    path.write_text(SUITE.format(name=name))
    report = run_suites(load_suites([str(path)], overrides=[f"backend={backend}"], select=select))
    return {case.id: case.status for case in report.cases}


@pytest.mark.parametrize("backend", ["torch", "numpy", "jax"])
def test_conformance_and_equilibria_judge_it_on_every_backend(tmp_path, backend):
    found = statuses(tmp_path, "softplus", backend)
    assert set(found.values()) == {"passed"}, found
    assert len(found) == 6


@pytest.mark.parametrize("backend", ["torch", "numpy", "jax"])
def test_a_wrong_slope_in_its_row_fails(tmp_path, backend):
    assert statuses(tmp_path, "steep", backend, "values") == {"values": "failed"}


@pytest.mark.parametrize("backend", ["torch", "numpy", "jax"])
def test_a_wrong_curvature_in_its_row_fails(tmp_path, backend):
    assert statuses(tmp_path, "straight", backend, "hessian and not unrolled") == {
        "hessian": "failed"
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_differentiates_as_the_row_says_where_its_formula_has_a_kink(dtype):
    """At a saddle of zeros every unit is at 0, where ``|a|`` in a formula has no derivative."""
    rng = np.random.default_rng(0)
    network = NetworkSpec((2, 3, 2), activation="softplus", convention="pre")
    weights = [np.zeros((3, 2)), rng.standard_normal((2, 3))]
    x, y = rng.standard_normal((2, 4, 2))
    vectors = rng.standard_normal((3, network.n_parameters))
    products = []
    with plugged_in({"softplus": SOFTPLUS}, ACTIVATIONS):
        for backend in (TorchBackend("cpu", dtype), NumpyBackend("cpu", "float64")):
            batch = [backend.to_device(array) for array in (x, y)]
            hessian = backend.build(network, weights).loss_hessian(*batch)
            products.append(backend.to_host(hessian.product(backend.to_device(vectors))))
    ours, reference = products
    assert np.abs(reference[:, :6]).max() > 0.1
    np.testing.assert_allclose(ours, reference, rtol=0, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", [*ACTIVATIONS.names(), "softplus"])
def test_what_a_row_says_follows_from_its_formula(name):
    row, z = activation(name), np.linspace(-40, 40, 8001)
    if row.smooth:
        expanded = Formula(row.value, row.max_slope).at(z)
        np.testing.assert_allclose(row.slope(np, z), expanded.slope, rtol=0, atol=1e-14)
        np.testing.assert_allclose(row.curvature(np, z), expanded.curvature, rtol=0, atol=1e-14)
    assert np.abs(row.slope(np, z)).max() <= row.max_slope
    assert np.abs(row.curvature(np, z)).max() <= row.max_curvature


def test_every_function_that_a_formula_may_use_is_differentiated():
    def formula(xp, a):
        b = 1 + a**2
        smooth = xp.sin(a) * xp.cos(a) / xp.sqrt(b) - 2 / b + xp.log(b) ** 3 + xp.expm1(xp.tanh(a))
        return xp.where(a.real > 0.5, smooth, 1 - smooth) + xp.log1p(xp.exp(-xp.abs(a)))

    z, h = np.array([-2.1, -0.3, 0.2, 0.8, 3.0]), 1e-3
    expanded = Formula(formula, 1.0).at(z)
    far, near = (formula(np, z + k * h) for k in (2, 1)), (formula(np, z + h), formula(np, z - h))
    ahead, _ = far
    behind = formula(np, z - 2 * h)
    slopes = (8 * (near[0] - near[1]) - (ahead - behind)) / (12 * h)
    curvatures = (16 * (near[0] + near[1]) - ahead - behind - 30 * formula(np, z)) / (12 * h**2)
    np.testing.assert_allclose(expanded.value, formula(np, z))
    np.testing.assert_allclose(expanded.slope, slopes, rtol=1e-9)
    np.testing.assert_allclose(expanded.curvature, curvatures, rtol=1e-6)


def test_an_activation_that_is_not_zero_at_zero_is_refused():
    with pytest.raises(ValueError, match=r"'sigmoid' is 0\.5 at 0"):
        Activation("sigmoid", slope, slope, slope, max_slope=0.25, max_curvature=0.1)


def test_linear_networks_take_no_activations(tmp_path):
    path = tmp_path / "linear.yaml"
    text = SUITE.format(name="softplus").replace("layers: smooth", "layers: linear")
    path.write_text(text)
    with pytest.raises(Exception, match="linear networks have no activations"):
        load_suites([str(path)])


def test_without_the_row_the_name_is_unknown(tmp_path):
    path = tmp_path / "unknown.yaml"
    path.write_text(SUITE.format(name="softmin"))
    with pytest.raises(Exception, match="'leaky_relu', 'silu'"):
        load_suites([str(path)])
