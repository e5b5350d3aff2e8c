"""Hessians of any network by the PyTorch backend, against the theory's, and against autograd's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.backends.torch.hessians import ImplicitEnergyHessian
from pcbench.contract import BackendUnavailableError, ExactInference, GaussNewtonInference
from pcbench.networks import NetworkSpec
from pcbench.spectra import HessianOperator, dense, extreme_eigenpairs, spectral_density
from pcbench.theory.nonlinear.layered import feedforward
from pcbench.theory.nonlinear.second_order import energy_hessian_product, loss_hessian_product
from tests.backends.torch import layered
from tests.helpers.closeness import SAME, apart
from tests.helpers.linear_problems import random_problem, seeds

few = settings(max_examples=15, deadline=None)
SMOOTH = ("identity", "tanh", "silu")
smooth = layered.networks(SMOOTH, gain=0.8)


def directions(problem, count=3, seed=0):
    size = sum(parameter.size for parameter in problem.parameters)
    return np.random.default_rng(seed).standard_normal((count, size))


def split(problem, vector):
    parts = np.split(vector, np.cumsum([p.size for p in problem.parameters])[:-1])
    return [part.reshape(p.shape) for part, p in zip(parts, problem.parameters, strict=True)]


def joined(parts):
    return np.concatenate([part.ravel() for part in parts])


# Activities need be no equilibrium: the implicit formula is compared as it stands. But it must be
# solvable there, which random activities far from one do not warrant.
def near_feedforward(problem):
    rng = np.random.default_rng(0)
    forward = feedforward(problem.judge, problem.x)
    hidden = [z + 0.05 * rng.standard_normal(z.shape) for z in forward[1:-1]]
    return [problem.x, *hidden, forward[-1] + 0.1 * np.nan_to_num(problem.y)]


@few
@given(case=smooth, masked=st.booleans(), seed=seeds)
def test_the_loss(case, masked, seed):
    problem = layered.draw(*case)
    backend, model, z, precision = layered.staged(problem)
    vectors = directions(problem, seed=seed)
    ours = model.loss_hessian(z[0], z[-1], precision if masked else None)
    wanted = [
        loss_hessian_product(
            problem.judge,
            problem.x,
            problem.y,
            split(problem, v),
            problem.precision if masked else None,
        ).product
        for v in vectors
    ]
    found = backend.to_host(ours.product(backend.to_device(vectors)))
    assert apart(found, np.stack([joined(w) for w in wanted])) < SAME
    assert ours.residual == 0


@few
@given(case=smooth, masked=st.booleans(), seed=seeds)
def test_the_equilibrated_energy(case, masked, seed):
    problem = layered.draw(*case)
    activities = near_feedforward(problem)
    backend, model, _, precision = layered.staged(problem)
    vectors = directions(problem, seed=seed)
    ours = model.energy_hessian(
        [backend.to_device(z) for z in activities], precision if masked else None
    )
    wanted = [
        energy_hessian_product(
            problem.judge, activities, split(problem, v), problem.precision if masked else None
        ).product
        for v in vectors
    ]
    found = backend.to_host(ours.product(backend.to_device(vectors)))
    assert apart(found, np.stack([joined(w) for w in wanted])) < SAME
    assert ours.residual < 1e-11


@few
@given(case=smooth, seed=seeds)
def test_through_no_steps_of_inference_it_is_the_loss(case, seed):
    problem = layered.draw(*case)
    backend, model, z, _ = layered.staged(problem)
    vectors = backend.to_device(directions(problem, seed=seed))
    ours = model.unrolled_hessian(z[0], z[-1], 0, 0.1).product(vectors)
    assert (
        apart(
            backend.to_host(ours), backend.to_host(model.loss_hessian(z[0], z[-1]).product(vectors))
        )
        < SAME
    )


@few
@given(case=layered.networks(SMOOTH, bodies=(layered.DENSE,), gain=0.6), seed=seeds)
def test_through_ever_more_steps_it_becomes_the_equilibrated_energy(case, seed):
    problem = layered.draw(*case)
    backend, model, z, _ = layered.staged(problem)
    vectors = backend.to_device(directions(problem, 1, seed))
    settings = GaussNewtonInference(residual=1e-12, max_steps=200)
    reached = model.infer(z[0], z[-1], settings)
    limit = model.energy_hessian([*reached.activities[:-1], z[-1]]).product(vectors)
    off = [
        apart(
            backend.to_host(model.unrolled_hessian(z[0], z[-1], steps, 0.2).product(vectors)),
            backend.to_host(limit),
        )
        for steps in (0, 400)
    ]
    assert off[1] < max(1e-3, 0.05 * off[0])


@pytest.mark.parametrize(
    "architecture", [*layered.ARCHITECTURES[:1], ("silu", "pre", True, layered.DENSE, (4, 5, 3, 2))]
)
def test_replicas_multiply_as_they_would_alone(architecture):
    singles, together = layered.replicated(architecture, samples=4)
    backend = layered.staged(singles[0])[0]
    vectors = np.stack([directions(single, 2, seed) for seed, single in enumerate(singles)])
    alone, activities = {"loss": [], "energy": []}, []
    for single, own in zip(singles, vectors, strict=True):
        model = layered.staged(single)[1]
        activities.append(near_feedforward(singles[0].unmasked()))
        z = [backend.to_device(part) for part in activities[-1]]
        for objective, hessian in (
            ("loss", model.loss_hessian(z[0], z[-1])),
            ("energy", model.energy_hessian(z)),
        ):
            alone[objective].append(backend.to_host(hessian.product(backend.to_device(own))))
    stacked = [backend.to_device(np.stack(layer)) for layer in zip(*activities, strict=True)]
    for objective, hessian in (
        ("loss", together.loss_hessian(stacked[0], stacked[-1])),
        ("energy", together.energy_hessian(stacked)),
    ):
        found = backend.to_host(hessian.product(backend.to_device(vectors)))
        assert apart(found, np.stack(alone[objective])) < SAME


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "architecture",
    [*layered.ARCHITECTURES[:1], ("identity", "post", False, layered.DENSE, (4, 5, 2))],
)
def test_replicas_on_one_batch_multiply_as_they_would_alone(architecture, masked):
    singles, together = layered.replicated(architecture, samples=4)
    backend, _, z, precision = layered.staged(singles[0])
    batch = (z[0], z[-1], precision) if masked else (z[0], torch.nan_to_num(z[-1]))
    vectors = np.stack([directions(single, 2, seed) for seed, single in enumerate(singles)])
    alone = [
        backend.to_host(
            layered.staged(single)[1].loss_hessian(*batch).product(backend.to_device(own))
        )
        for single, own in zip(singles, vectors, strict=True)
    ]
    found = together.loss_hessian(*batch).product(backend.to_device(vectors))
    assert apart(backend.to_host(found), np.stack(alone)) < SAME


def test_the_implicit_solve_and_the_closed_form_of_linear_networks_agree():
    problem = random_problem((3, 4, 5, 2))
    backend = layered.TorchBackend()
    model = backend.build(problem.network, problem.weights)
    x, y = backend.to_device(problem.x), backend.to_device(problem.y)
    z = [*model.infer(x, y, ExactInference()).activities[:-1], y]
    whole = torch.eye(problem.network.n_parameters, dtype=torch.float64)
    closed, solved = model.energy_hessian(z), ImplicitEnergyHessian(model.layers, z)
    assert apart(closed.product(whole).numpy(), solved.product(whole).numpy()) < SAME
    assert closed.residual == 0 < solved.residual < 1e-13


@pytest.mark.parametrize("residual", [1e-1, 1e-4, 1e-8])
def test_an_inner_solve_is_as_good_as_was_asked_and_says_so(residual):
    problem = layered.draw("tanh", "pre", True, layered.DENSE, (4, 6, 6, 2), 5, 0, 1.5)
    backend, model, z, _ = layered.staged(problem)
    reached = model.infer(z[0], z[-1], GaussNewtonInference(residual=1e-12, max_steps=200))
    hessian = model.energy_hessian([*reached.activities[:-1], z[-1]], residual=residual)
    hessian.product(backend.to_device(directions(problem)))
    assert 0 < hessian.residual <= residual


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, z: model.loss_hessian(z[0], z[-1]),
        lambda model, z: model.unrolled_hessian(z[0], z[-1], 1, 0.1),
    ],
)
def test_replicas_of_convolutions_are_refused(ask):
    architecture = ("tanh", "post", True, layered.CONVOLVED[0], (4, 5, 3, 2))
    singles, together = layered.replicated(architecture)
    _, _, z, _ = layered.staged(singles[0])
    with pytest.raises(BackendUnavailableError, match="replicas"):
        ask(together, z)


@settings(max_examples=8, deadline=None)
@given(
    activation=st.sampled_from(SMOOTH),
    convention=st.sampled_from(["post", "pre"]),
    objective=st.sampled_from(["loss", "energy"]),
    seed=seeds,
)
def test_dense_lanczos_and_quadrature_agree_with_central_differences(
    activation, convention, objective, seed
):
    backend, network = layered.TorchBackend(), NetworkSpec((2, 3, 2, 2), activation, convention)
    rng = np.random.default_rng(seed)
    weights = [0.5 * rng.standard_normal(shape) for shape in network.shapes]
    x, y = (backend.to_device(rng.standard_normal((5, width))) for width in (2, 2))
    # What inference leaves is divided by the step of the differences.
    settings = GaussNewtonInference(residual=1e-13, max_steps=40)

    def at(flat):
        cuts = np.cumsum([w.size for w in weights])[:-1]
        parts = [p.reshape(w.shape) for p, w in zip(np.split(flat, cuts), weights, strict=True)]
        model = backend.build(network, parts)
        return model, [*model.infer(x, y, settings).activities[:-1], y]

    def gradient(flat):
        model, z = at(flat)
        found = model.loss_gradients(x, y) if objective == "loss" else model.energy_gradients(z)
        return joined([backend.to_host(part) for part in found])

    here, step = joined(weights), 1e-5
    model, z = at(here)
    hessian = model.loss_hessian(x, y) if objective == "loss" else model.energy_hessian(z)
    operator = HessianOperator(backend, hessian, len(here))
    matrix = dense(operator)
    moves = step * np.eye(len(here))
    differences = np.stack([gradient(here + m) - gradient(here - m) for m in moves]) / (2 * step)
    assert apart(matrix, differences) < 1e-5
    eigenvalues = np.linalg.eigvalsh(matrix)
    found = extreme_eigenpairs(operator, rng)
    assert abs(found.least.value - eigenvalues[0]) <= found.least.residual + 1e-9
    assert abs(found.largest.value - eigenvalues[-1]) <= found.largest.residual + 1e-9
    density = spectral_density(operator, rng)
    below, above = (
        np.searchsorted(eigenvalues, density.at + off, side="right") / len(here)
        for off in (1e-9, -1e-9)
    )
    assert (density.lower <= below).all()
    assert (above <= density.upper).all()


def test_what_is_solved_already_stays_solved():
    backend, network = layered.TorchBackend(), NetworkSpec((4, 5, 5, 3), "tanh")
    rng = np.random.default_rng(0)
    model = backend.build(network, [0.5 * rng.standard_normal(shape) for shape in network.shapes])
    x, y = (rng.standard_normal((6, width)) for width in (4, 3))
    x[:3, 0] = 0.0  # the first weight moves nothing of these samples
    x, y = backend.to_device(x), backend.to_device(y)
    reached = model.infer(x, y, GaussNewtonInference(residual=1e-10, max_steps=100))
    hessian = model.energy_hessian([*reached.activities[:-1], y])
    whole = hessian.product(torch.eye(network.n_parameters, dtype=torch.float64))
    assert torch.isfinite(whole).all()
    assert torch.allclose(whole, whole.mT, atol=1e-10)
    assert not hessian.product(torch.zeros(1, network.n_parameters, dtype=torch.float64)).any()
    assert hessian.residual < 1e-12


def test_a_product_that_is_no_number_says_so_of_its_system():
    problem = layered.draw("tanh", "post", False, layered.DENSE, (3, 4, 2), 3, 0)
    backend, model, z, _ = layered.staged(problem)
    hessian = model.energy_hessian(z)
    hessian.product(backend.to_device(np.full((1, 20), np.inf)))
    assert not hessian.residual < 1
