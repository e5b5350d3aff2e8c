"""The gradient flow by torchdiffeq: its steps, when it looks, how exact it has to be."""

import numpy as np
import pytest
import torch
import torchdiffeq
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pcbench.backends.torch.relaxation import Relaxation
from pcbench.contract import OdeInference
from pcbench.networks import NetworkSpec
from pcbench.registry import BACKENDS
from pcbench.theory.linear.equilibrium import activity_hessian
from pcbench.theory.nonlinear.layered import feedforward
from tests.backends.torch import answers
from tests.backends.torch.layered import CONVOLVED, DENSE, draw, replicated, staged
from tests.helpers.closeness import SAME, apart

METHODS = ("dopri5", "bosh3", "adaptive_heun")
# How often each evaluates the flow in a step, not counting what the step before left at its start.
STAGES = {"dopri5": 6, "bosh3": 3, "adaptive_heun": 1}
SMALL = ("tanh", "post", True, DENSE, (4, 5, 5, 3))
NEVER = 1e-300


def flow(problem, dtype="float64", **written):
    """Follow the flow, and return what inference returned."""
    _, model, (x, *_, y), precision = staged(problem, dtype)
    return model.infer(x, y, OdeInference(**written), precision)


def finite(inference):
    return all(bool(z.isfinite().all()) for z in (*inference.activities, inference.energies))


# --- Steps


@pytest.mark.parametrize("method", METHODS)
def test_the_path_has_a_row_for_every_step_and_descends(method):
    problem = draw(*SMALL, 6, 0)
    found = flow(problem, method=method, residual=1e-2, record=True)
    assert found.converged
    assert found.path.shape == (found.steps + 1, 3)
    assert len(torch.unique(found.path, dim=0)) == found.steps + 1
    assert (found.path.sum(-1).diff() < 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("residual", [0.3, 1e-2])
def test_the_flow_ends_with_the_first_step_that_reaches_the_residual(method, residual):
    problem = draw(*SMALL, 6, 0)
    tolerance = {"atol": 1e-5, "method": method}
    found = flow(problem, residual=residual, record=True, **tolerance)
    on = flow(problem, residual=residual / 10, record=True, **tolerance)
    assert found.converged
    assert float(found.residual) <= residual
    assert on.steps > found.steps
    torch.testing.assert_close(found.path, on.path[: found.steps + 1], rtol=0, atol=0)
    # Where the budget ends one accepted step earlier, the residual is still above.
    earlier, budget = found.steps - 1, found.steps - 1
    while (before := flow(problem, residual=NEVER, max_steps=budget, **tolerance)).steps < earlier:
        budget += earlier - before.steps
    assert before.steps == earlier
    assert float(before.residual) > residual


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [1, 7, 40])
def test_the_budget_counts_steps_that_are_refused_and_an_evaluation_serves_the_residual_too(
    method, budget
):
    # Rectifiers: at their kinks steps are refused.
    problem = draw("relu", "post", True, DENSE, (4, 8, 8, 3), 6, 0)
    found = flow(problem, method=method, atol=1e-6, residual=NEVER, max_steps=budget)
    assert not found.converged
    assert 0 < found.steps <= budget
    # The start of all, which the flow's first step shares, and torchdiffeq's choice of that step.
    passes = 2 + 2 + 2 * STAGES[method] * budget
    if method == "adaptive_heun":  # evaluates nothing where a step ends
        passes += 2 * found.steps
    assert found.passes == passes
    if budget == 40 and method == "dopri5":
        assert found.steps < budget


def test_time_that_is_spent_ends_it_there():
    problem = draw("identity", "post", False, DENSE, (3, 4, 4, 2), 5, 0).unmasked()
    exact = {"atol": 1e-10, "residual": NEVER, "record": True}
    short, long = (flow(problem, max_time=t, **exact) for t in (1.0, 1.3))
    assert not short.converged
    assert short.path.shape == (short.steps + 1, 3)
    # The last step is cut short, and those before it are the same.
    torch.testing.assert_close(short.path[:-1], long.path[: short.steps], rtol=0, atol=0)
    assert short.path[-2].sum() > short.path[-1].sum() > long.path[short.steps].sum()


# --- How exact


@pytest.mark.parametrize(
    ("activation", "hidden", "width"), [("tanh", 3, 20), ("silu", 2, 50), ("identity", 5, 50)]
)
def test_the_default_residual_is_within_reach_of_the_default_tolerance(activation, hidden, width):
    dense = (40, *(width,) * hidden, 10)
    found = flow(draw(activation, "post", False, DENSE, dense, 16, 0).unmasked())
    assert found.converged
    assert found.passes < 20_000


# Weights far from 1/√fan_in make the landscape steep: its curvature is 1000 there.
@pytest.mark.parametrize("gain", [0.1, 1, 20])
@pytest.mark.parametrize("dtype", answers.DTYPES)
def test_a_residual_is_within_reach_however_steep_the_network_is(gain, dtype):
    problem = draw("tanh", "post", False, DENSE, (10, 20, 20, 5), 8, 0, gain, dtype).unmasked()
    found = flow(problem, dtype, residual=1e-3)
    assert found.converged
    assert found.passes < 5_000


def test_no_step_has_to_be_more_exact_than_rounding_lets_it():
    problem = draw("tanh", "post", False, DENSE, (5, 8, 8, 3), 8, 0, 0.5, "float32").unmasked()
    found = flow(problem, "float32", residual=1e-9, max_steps=600)
    assert not found.converged
    assert found.steps > 400
    assert float(found.residual) < 2e-5


def test_a_tolerance_that_is_written_is_that_of_the_flow():
    problem = draw("identity", "post", False, DENSE, (3, 4, 4, 2), 5, 0).unmasked()
    steps = [
        flow(problem, residual=NEVER, max_time=2.0, **written).steps
        for written in ({"atol": 1e-3}, {"atol": 1e-9}, {"atol": 1e-12, "rtol": 1e-3})
    ]
    assert steps[0] < steps[1]
    assert steps[2] < steps[1]


@pytest.mark.parametrize("masked", [False, True])
def test_the_curvature_that_moves_meet_is_the_hessian_of_the_energy(masked):
    problem = draw("identity", "post", False, DENSE, (3, 4, 5, 2), 5, 0)
    problem = problem.masked() if masked else problem.unmasked()
    _, model, (x, *hidden, y), precision = staged(problem)
    view = Relaxation(model.layers, x, y, precision).at(hidden)
    moves = [torch.ones_like(z).cumsum(-1) for z in hidden]
    ahead = Relaxation(model.layers, x, y, precision).at(
        [z + v for z, v in zip(hidden, moves, strict=True)]
    )
    curved = [b - a for a, b in zip(view.slopes(), ahead.slopes(), strict=True)]
    assert apart([z.numpy() for z in view.curve(moves)], [z.numpy() for z in curved]) < SAME
    if not masked:
        hessian = activity_hessian(problem.judge.weights)
        expected = np.concatenate(moves, axis=1) @ hessian
        assert apart(np.concatenate(view.curve(moves), axis=1), expected) < SAME


# --- Devices without float64


class Dtypes(TorchDispatchMode):
    """Takes note of the dtype of every tensor that anything makes."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.seen |= {t.dtype for t in tree_leaves(made) if isinstance(t, torch.Tensor)}
        return made


@pytest.mark.parametrize("method", METHODS)
def test_in_float32_nothing_of_the_flow_is_in_float64(monkeypatch, method):
    """Metal has none: neither times nor tolerances may be made in it, on their way to either."""
    handed = []

    def watched(flow, hidden, times, **written):
        handed.extend([times.dtype, written["options"]["dtype"], *(z.dtype for z in hidden)])
        return odeint(flow, hidden, times, **written)

    odeint = torchdiffeq.odeint
    monkeypatch.setattr(torchdiffeq, "odeint", watched)
    problem = draw(*SMALL, 6, 0, dtype="float32")
    _, model, (x, *_, y), precision = staged(problem, "float32")
    asked = OdeInference(method=method, residual=0.1, max_time=2.0, record=True)
    with Dtypes() as dtypes:
        found = model.infer(x, y, asked, precision)
    assert found.steps > 1
    assert set(handed) == {torch.float32}
    assert torch.float32 in dtypes.seen
    assert torch.float64 not in dtypes.seen


# --- Where there is no way on


@pytest.mark.parametrize(("dtype", "large"), [("float32", 1e12), ("float64", 1e100)])
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_a_landscape_too_steep_for_the_dtype_ends_it_where_it_is(activation, dtype, large):
    problem = draw(activation, "post", False, DENSE, (4, 5, 5, 3), 4, 0, dtype=dtype).unmasked()
    problem.judge.weights[1][0, 0] = large
    found = flow(problem, dtype, max_steps=200)
    assert not found.converged
    assert finite(found)
    assert found.steps <= 200


@pytest.mark.parametrize("body", [DENSE, CONVOLVED[0]], ids=str)
def test_kinks_spend_the_budget_and_nothing_else(body):
    problem = draw("relu", "post", True, body, (4, 5, 5, 3), 4, 0)
    found = flow(problem, max_steps=100, residual=1e-12, record=True)
    assert found.steps <= 100
    assert finite(found)
    assert found.path[-1].sum() < found.path[0].sum()


@pytest.mark.parametrize("dtype", answers.DTYPES)
def test_a_tolerance_below_rounding_costs_what_rounding_does(dtype):
    problem = draw("tanh", "post", False, DENSE, (4, 5, 5, 3), 6, 0, dtype=dtype).unmasked()
    layers = [*feedforward(problem.judge, problem.x)[1:-1], problem.y]
    largest = max(np.sqrt(np.mean(layer**2, axis=1)).max() for layer in layers)
    rounding = float(np.finfo(dtype).eps * largest)
    none, at, above = (
        flow(problem, dtype, residual=NEVER, max_time=0.5, atol=atol)
        for atol in (1e-30, rounding, 100 * rounding)
    )
    assert (none.steps, none.passes) == pytest.approx((at.steps, at.passes), rel=0.01)
    assert above.passes < at.passes


# --- Samples and replicas


def with_a_fast_sample(slow):
    """One sample with a large error, then so many whose errors are a thousandth of it."""
    problem = draw("tanh", "post", False, DENSE, (4, 5, 5, 3), 1 + slow, 0).unmasked()
    for array in (problem.x, problem.y):
        array[1:] *= 1e-3
    problem.y[0] *= 3
    return problem


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("atol", [1e-3, 1e-5])
def test_a_fast_sample_among_many_slow_ones_is_as_exact_as_alone(name, atol):
    """By an rms over the batch it is a hundred times less exact."""
    problem = with_a_fast_sample(1000)
    backend = BACKENDS.load(name)("cpu", "float64")
    model = backend.build(problem.network, problem.parameters)

    def ends(samples, atol):
        batch = (backend.to_device(part[:samples]) for part in (problem.x, problem.y))
        asked = OdeInference(residual=NEVER, max_time=2.0, atol=atol)
        return [backend.to_host(z)[0] for z in model.infer(*batch, asked).activities[1:-1]]

    exact = ends(1, 1e-12)
    alone, among = (apart(ends(samples, atol), exact) for samples in (1, 1001))
    assert among <= 1.5 * alone


def test_a_replica_among_many_that_are_at_rest_takes_the_steps_that_it_takes_alone():
    """Its error is not averaged away, and its tolerance is its own."""
    singles, together = replicated(SMALL, gains=(1.0,) * 30)
    for layer in (together.layers[-1].affine.weight, together.layers[-1].affine.bias):
        layer[1:] = 0
    _, model, (x, *_, y), precision = staged(singles[0])
    asked = OdeInference(residual=1e-4, record=True)
    alone, found = (each.infer(x, y, asked, precision) for each in (model, together))
    assert alone.converged
    assert found.converged
    assert found.steps == alone.steps
    torch.testing.assert_close(found.path[0], alone.path, rtol=1e-9, atol=1e-12)


def test_replicas_move_on_until_the_last_has_arrived():
    singles, together = replicated(SMALL, gains=(0.1, 1.0, 1.5))
    _, _, (x, *_, y), precision = staged(singles[0])
    short, long = (
        together.infer(x, y, OdeInference(residual=1e-2, max_time=time), precision)
        for time in (4.5, 100.0)
    )
    assert not short.converged
    assert float(short.residual.max()) > 1e-2 >= float(short.residual.min())
    assert long.converged
    assert float(long.residual.max()) <= 1e-2
    assert float(long.residual.min()) < float(short.residual.min())


def test_a_stiff_replica_is_as_exact_beside_one_of_large_activities_as_alone():
    """No step was asked for less than the rounding of the largest activities of all replicas."""
    rng = np.random.default_rng(0)
    gains = np.array([[1e8, 1e-3], [1e-3, 1e3]])  # of both layers; the second replica is stiff
    # A single hidden unit, so that there is one curvature, 1 + ‖W_2‖².
    weights = [
        gains[:, layer, None, None] * rng.standard_normal(shape)
        for layer, shape in enumerate([(1, 4), (4, 1)])
    ]
    network = NetworkSpec((4, 1, 4), "identity", "post", bias=False)
    backend = BACKENDS.load("torch")()
    batch = [backend.to_device(rng.standard_normal((3, 4))) for _ in "xy"]
    asked = OdeInference(residual=NEVER, atol=1e-10, max_time=1e-4)
    alone, together = (
        backend.build(network, parameters).infer(*batch, asked)
        for parameters in ([weight[1] for weight in weights], weights)
    )
    assert float(together.residual[1]) <= 10 * float(alone.residual)
