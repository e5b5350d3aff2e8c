"""The reference backend against brute force: definitions, finite differences, dense solutions."""

import json
from itertools import pairwise, product

import numpy as np
import pytest
import scipy.optimize
from closeness import DIFFERENT, SAME, apart
from pydantic import TypeAdapter
from reference_problems import (
    ALL,
    BACKEND,
    BENT,
    SMOOTH,
    STRAIGHT,
    batch,
    central,
    energy_at,
    flat,
    modelled,
    moved,
    posed,
    slopes_at,
    unflat,
)
from scipy.linalg import expm
from scipy.signal import correlate2d

from pcbench.backends import (
    BackendUnavailableError,
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    OdeInference,
)
from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.numpy.activation import BY_NAME
from pcbench.backends.numpy.curvature import BlockTridiagonal, full_curvature
from pcbench.backends.numpy.maps import AffineMap
from pcbench.backends.numpy.pooling import winners
from pcbench.backends.numpy.state import Clamped
from pcbench.networks import Convolution

# What central differences of step 1e-5 leave: a rounding of 1e-16 over the step.
DIFFERENCES = 1e-7


def parametrised(networks):
    return pytest.mark.parametrize("network", networks.values(), ids=networks)


# --- Pieces


@pytest.mark.parametrize("name", BY_NAME)
def test_slopes_and_curvatures_are_what_complex_steps_find(name):
    phi, a = BY_NAME[name], np.array([-800.0, -30.0, -1.3, -0.2, 0.4, 2.0, 30.0, 800.0])
    moved = a + 1e-100j
    assert np.isfinite(phi.value(a)).all()
    np.testing.assert_allclose(phi.value(moved).imag / 1e-100, phi.slope(a), rtol=1e-12, atol=1e-15)
    slope = np.asarray(phi.slope(moved), complex)
    np.testing.assert_allclose(slope.imag / 1e-100, phi.curvature(a), rtol=1e-12, atol=1e-12)


def test_a_rectifier_has_the_slope_of_its_left_side_at_its_kink():
    zero = np.zeros(1)
    assert (BY_NAME["relu"].slope(zero), BY_NAME["leaky_relu"].slope(zero)) == (0.0, 0.01)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_the_matrix_of_a_convolution_correlates_images_with_its_kernels(kernel):
    shape = Convolution((2, 3, 4), 3, kernel)
    rng = np.random.default_rng(0)
    weight, images = rng.standard_normal(shape.weight_shape), rng.standard_normal((2, 2, 3, 4))
    affine = AffineMap.of(shape, weight, np.array([1.0, 2.0, 3.0]))
    expected = [
        [
            bias + sum(map(lambda k, i: correlate2d(i, k, "same"), kernels, image))
            for kernels, bias in zip(weight, (1.0, 2.0, 3.0), strict=True)
        ]
        for image in images
    ]
    assert apart(affine(images.reshape(2, -1)), np.reshape(expected, (2, -1))) < SAME


def test_of_equal_entries_of_a_window_the_first_wins():
    shape = Convolution((1, 2, 4), 1, 1, 2)
    image = np.array([[1.0, 7.0, 0.0, 0.0, 7.0, 7.0, 0.0, 0.0]])
    assert winners(shape, image).tolist() == [[1, 2]]


def test_a_system_is_solved_as_a_dense_one_is():
    rng = np.random.default_rng(0)
    root = np.triu(np.tril(rng.standard_normal((9, 9)), 2), -2)  # blocks of 2, 3, 4 cover it
    dense = root @ root.T + np.eye(9)
    ends = [slice(0, 2), slice(2, 5), slice(5, 9)]
    dense[0:2, 5:9] = dense[5:9, 0:2] = 0.0
    blocks = BlockTridiagonal(
        [dense[rows, rows] for rows in ends], [dense[ends[0], ends[1]], dense[ends[1], ends[2]]]
    )
    np.testing.assert_array_equal(blocks.sparse().toarray(), dense)
    right = rng.standard_normal((3, 9))
    shift = 0.5 + max(0.0, -np.linalg.eigvalsh(dense)[0])
    for solved, matrix in (
        (blocks.lu()(right), dense),
        (blocks.cholesky(shift)(right), dense + shift * np.eye(9)),
    ):
        assert apart(solved, np.linalg.solve(matrix, right.T).T) < SAME


def test_what_cannot_be_factorised_has_no_numbers_for_a_solution():
    singular = BlockTridiagonal([np.zeros((2, 2))], [])
    for solve in (singular.lu(), singular.cholesky(), singular.cholesky(np.nan)):
        assert np.isnan(solve(np.ones((1, 2)))).all()


# --- Values and gradients


@parametrised(ALL)
def test_energies_are_sums_over_samples_and_units_one_by_one(network):
    problem = posed(network)
    model, layers = modelled(problem), problem.network.n_layers
    x, y, precision = batch(problem)
    energies = np.zeros(layers)
    for n, l in product(range(len(x)), range(1, layers + 1)):
        below, above = problem.activities[l - 1][n], problem.activities[l][n]
        for k, target in enumerate(above):
            weight = precision[n, k] if l == layers else 1.0
            if weight > 0:
                predicted = model.layers[l - 1].at(below[None]).value[0, k]
                energies[l - 1] += weight * (target - predicted) ** 2 / (2 * len(x))
    assert apart(model.energies(problem.activities, precision), energies) < SAME
    forward = x
    for layer in model.layers:
        forward = layer.at(forward).value
    np.testing.assert_array_equal(model.predict(x), forward)
    off = np.where(precision > 0, y - forward, 0.0)
    assert apart(model.loss(x, y, precision), np.sum(precision * off**2) / (2 * len(x))) < SAME


@parametrised(ALL)
def test_gradients_are_differences_of_loss_and_energy(network):
    problem = posed(network)
    model, (x, y, precision) = modelled(problem), batch(problem)
    at = np.zeros(flat(problem.parameters).size)

    losses = central(lambda vector: moved(problem, vector).loss(x, y, precision), at)
    assert apart(flat(model.loss_gradients(x, y, precision)), losses) < DIFFERENCES
    energies = central(
        lambda vector: moved(problem, vector).energies(problem.activities, precision).sum(), at
    )
    gradients = model.energy_gradients(problem.activities, precision)
    assert apart(flat(gradients), energies) < DIFFERENCES
    assert [g.shape for g in gradients] == [p.shape for p in problem.parameters]


@parametrised(ALL)
def test_slopes_and_curvature_are_differences_of_the_energy(network):
    problem = posed(network)
    state = Clamped.of(modelled(problem).layers, *batch(problem)).at(problem.activities[1:-1])
    if not state.hidden:
        assert state.slopes() == []
        return
    at = flat(state.hidden)
    assert apart(flat(state.slopes()), central(energy_at(problem), at)) < DIFFERENCES

    # Flat vectors go layer by layer, and the matrices of samples sample by sample.
    whole = central(slopes_at(problem), at)
    owner = flat([np.indices(z.shape)[0] for z in state.hidden])
    for n in range(len(problem.x)):
        mine = owner == n
        assert apart(full_curvature(state, n).sparse().toarray(), whole[np.ix_(mine, mine)]) < 1e-6
        assert not whole[np.ix_(mine, ~mine)].any()


# --- Inference


@parametrised(STRAIGHT)
def test_exact_inference_solves_the_whole_system(network):
    """Slopes are affine in the activities: those at 0 and at units are all of the system."""
    problem = posed(network)
    model, (x, y, precision) = modelled(problem), batch(problem)
    reached = model.infer(x, y, ExactInference(), precision)
    assert (reached.steps, reached.converged) == (0, True)
    assert reached.residual < 1e-12
    hidden = problem.activities[1:-1]
    if hidden:
        slopes, size = slopes_at(problem), flat(hidden).size
        at_zero = slopes(np.zeros(size))
        curvature = np.array([slopes(unit) for unit in np.eye(size)]) - at_zero
        expected = np.linalg.solve(curvature, -at_zero)
        assert apart(flat(reached.activities[1:-1]), expected) < SAME
    clamped = [*reached.activities[:-1], y]
    assert apart(reached.energies, model.energies(clamped, precision)) < SAME
    unseen = precision == 0
    last = model.layers[-1].at(reached.activities[-2]).value
    np.testing.assert_array_equal(reached.activities[-1][unseen], last[unseen])
    np.testing.assert_array_equal(reached.activities[-1][~unseen], y[~unseen])


@parametrised(SMOOTH)
def test_gauss_newton_ends_where_a_general_minimiser_does(network):
    problem = posed(network, gain=0.5)
    x, y, precision = batch(problem)
    settings = GaussNewtonInference(residual=1e-10, record=True)
    reached = modelled(problem).infer(x, y, settings, precision)
    assert reached.converged
    start = np.zeros(flat(problem.activities[1:-1]).size)
    found = scipy.optimize.minimize(
        energy_at(problem), start, jac=slopes_at(problem), method="BFGS", options={"gtol": 1e-9}
    )
    assert apart(len(x) * reached.energies.sum(), found.fun) < SAME
    assert apart(flat(reached.activities[1:-1]), found.x) < 1e-6
    path = reached.path.sum(axis=1)
    assert len(path) == reached.steps + 1
    assert np.diff(path).max() <= 1e-15 * path[0]


@parametrised(BENT)
def test_gauss_newton_never_raises_the_energy_of_a_sample(network):
    problem = posed(network, samples=4, gain=3.0)  # far from where a network is nearly linear
    x, y, precision = batch(problem)
    model = modelled(problem)
    for n in range(4):
        one = slice(n, n + 1)
        settings = GaussNewtonInference(residual=1e-12, max_steps=30, record=True)
        reached = model.infer(x[one], y[one], settings, precision[one])
        path = reached.path.sum(axis=1)
        assert np.diff(path).max(initial=0.0) <= 1e-13 * path[0]
        assert path[-1] < path[0] or not reached.steps


@parametrised(BENT)
def test_gradient_inference_follows_differences_of_the_energy(network):
    problem = posed(network)
    x, y, precision = batch(problem)
    steps, settings = 3, GradientInference(step=0.07, max_steps=3, residual=1e-15, record=True)
    reached = modelled(problem).infer(x, y, settings, precision)
    assert (reached.steps, reached.converged) == (steps, False)
    hidden = flat(Clamped.of(modelled(problem).layers, x, y, precision).feedforward().hidden)
    energy, start = energy_at(problem), None
    for step in range(steps + 1):
        slope = central(energy, hidden)
        start = np.linalg.norm(slope) if start is None else start
        assert apart(len(x) * reached.path[step].sum(), energy(hidden)) < DIFFERENCES
        if step < steps:
            hidden = hidden - 0.07 * slope
    assert apart(flat(reached.activities[1:-1]), hidden) < DIFFERENCES
    assert apart(reached.residual, np.linalg.norm(slope) / start) < 1e-6


def test_steps_are_halved_when_the_energy_rises_and_inference_ends_at_the_smallest():
    problem = posed(STRAIGHT["matrices"], gain=2.0)
    settings = GradientInference(
        step=1.0, halve=True, smallest_step=0.2, max_steps=50, residual=1e-12, record=True
    )
    reached = modelled(problem).infer(*batch(problem)[:2], settings, problem.precision)
    path, step, taken = reached.path.sum(axis=1), 1.0, 0
    for before, after in pairwise(path):
        taken += 1
        step = step / 2 if after > before else step
        if step <= 0.2:
            break
    assert step == 0.125  # it did come to that
    assert (reached.steps, reached.converged) == (taken, False)


@parametrised(BENT)
def test_error_inference_follows_differences_in_the_errors(network):
    problem = posed(network)
    x, y, precision = batch(problem)
    model, hidden = modelled(problem), problem.activities[1:-1]
    clamped = Clamped.of(model.layers, x, y, precision)

    def energy(errors):
        return len(x) * clamped.roll_out(unflat(errors, hidden)).energies().sum()

    settings = ErrorInference(step=0.07, max_steps=2, residual=1e-15)
    reached = model.infer(x, y, settings, precision)
    errors = np.zeros(flat(hidden).size)
    for _ in range(2):
        errors = errors - 0.07 * central(energy, errors)
    state = clamped.roll_out(unflat(errors, hidden))
    assert apart(reached.activities[1:-1], state.hidden) < DIFFERENCES


@pytest.mark.parametrize("method", ["dopri5", "bosh3"])
def test_the_flow_of_a_linear_network_is_an_exponential(method):
    problem = posed(STRAIGHT["matrices"])
    x, y, precision = batch(problem)
    model, time = modelled(problem), 0.7
    settings = OdeInference(method=method, max_time=time, residual=1e-15, atol=1e-8)
    reached = model.infer(x, y, settings, precision)
    clamped = Clamped.of(model.layers, x, y, precision)
    start = np.concatenate(clamped.feedforward().hidden, axis=1)
    rest = np.concatenate(model.infer(x, y, ExactInference(), precision).activities[1:-1], axis=1)
    ended = np.concatenate(reached.activities[1:-1], axis=1)
    for n in range(len(x)):
        curvature = full_curvature(clamped.feedforward(), n).sparse().toarray()
        expected = rest[n] + expm(-time * curvature) @ (start[n] - rest[n])
        assert apart(ended[n], expected) < 1e-6
    assert apart(ended, start) > DIFFERENT
    assert not reached.converged
    assert reached.steps > 1


def test_a_flow_ends_at_its_residual_and_within_its_budget_of_steps():
    problem = posed(BENT["tanh-post"])
    reached = modelled(problem).infer(*batch(problem)[:2], OdeInference(), problem.precision)
    assert reached.converged
    assert reached.residual <= 1e-6
    few = OdeInference(max_steps=3)
    stopped = modelled(problem).infer(*batch(problem)[:2], few, problem.precision)
    assert (stopped.steps <= 3, stopped.converged) == (True, False)


@pytest.mark.parametrize(
    "settings",
    [
        GradientInference(step=50.0, max_steps=5000),
        ErrorInference(step=50.0, max_steps=5000),
        OdeInference(atol=1e300, max_time=1e9),
    ],
    ids=lambda settings: settings.engine,
)
def test_what_diverges_ends_without_a_warning_and_does_not_claim_to_have_arrived(settings):
    problem = posed(STRAIGHT["matrices"], gain=3.0)
    reached = modelled(problem).infer(*batch(problem)[:2], settings, problem.precision)
    assert not reached.converged
    assert reached.steps < 5000


@parametrised(BENT | STRAIGHT)
@pytest.mark.parametrize(
    "settings", [GaussNewtonInference(), GradientInference(), ErrorInference(), OdeInference()]
)
def test_numbers_that_are_no_numbers_come_out_as_such(network, settings):
    problem = posed(network)
    x = np.full_like(problem.x, np.nan)
    reached = modelled(problem).infer(x, problem.y, settings, problem.precision)
    assert not reached.converged
    assert np.isnan(reached.energies[-1]) or np.isnan(reached.energies).any()


@parametrised(STRAIGHT)
@pytest.mark.parametrize("engine", ["exact", "gauss_newton", "gradient", "error", "ode"])
def test_of_no_samples_nothing_is_known(network, engine):
    problem = posed(network)
    nobody = [part[:0] for part in batch(problem)]
    settings = TypeAdapter(InferenceSettings).validate_python({"engine": engine})
    reached = modelled(problem).infer(*nobody[:2], settings, nobody[2])
    assert np.isnan(reached.energies).all()
    assert not reached.converged
    assert [z.shape for z in reached.activities] == [(0, d) for d in problem.network.widths]
    assert np.isnan(modelled(problem).loss(*nobody))


# --- Hessians


@parametrised(ALL)
def test_the_hessian_of_the_loss_is_a_difference_of_its_gradients(network):
    problem = posed(network)
    x, y, precision = batch(problem)
    hessian = modelled(problem).loss_hessian(x, y, precision)
    size = flat(problem.parameters).size
    rows = central(
        lambda vector: flat(moved(problem, vector).loss_gradients(x, y, precision)), np.zeros(size)
    )
    assert apart(hessian.product(np.eye(size)), rows) < 1e-6
    assert hessian.residual == 0


@parametrised(SMOOTH | STRAIGHT)
def test_the_hessian_of_the_energy_is_a_difference_of_gradients_at_equilibrium(network):
    problem = posed(network, gain=0.5)
    x, y, precision = batch(problem)
    settings = GaussNewtonInference(residual=1e-13, max_steps=200)

    def gradients(vector):
        model = moved(problem, vector)
        reached = model.infer(x, y, settings, precision)
        return flat(model.energy_gradients([*reached.activities[:-1], y], precision))

    model = modelled(problem)
    reached = model.infer(x, y, settings, precision)
    hessian = model.energy_hessian([*reached.activities[:-1], y], precision)
    size = flat(problem.parameters).size
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((3, size)) / np.sqrt(size)
    rows = [(gradients(1e-4 * along) - gradients(-1e-4 * along)) / 2e-4 for along in directions]
    assert apart(hessian.product(directions), np.array(rows)) < 1e-5
    assert hessian.residual < 1e-11


@parametrised(BENT | STRAIGHT)
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_the_unrolled_hessian_is_a_second_difference_of_the_energy_reached(network, steps):
    problem = posed(network).unmasked()
    x, y = problem.x, np.nan_to_num(problem.y)
    settings = GradientInference(step=0.1, max_steps=max(steps, 1), residual=1e-300)

    def energy(vector):
        model = moved(problem, vector)
        return model.infer(x, y, settings).energies.sum() if steps else model.loss(x, y)

    size, h = flat(problem.parameters).size, 1e-4
    u, v = np.random.default_rng(1).standard_normal((2, size)) / np.sqrt(size)
    mixed = (
        energy(h * (u + v)) - energy(h * (u - v)) - energy(h * (v - u)) + energy(-h * (u + v))
    ) / (4 * h * h)
    product = modelled(problem).unrolled_hessian(x, y, steps, 0.1).product(v[None])[0]
    assert abs(u @ product - mixed) < 1e-6 * max(1.0, float(np.linalg.norm(product)))


# --- The door


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
