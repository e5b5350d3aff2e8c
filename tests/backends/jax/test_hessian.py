"""Hessians of any network in JAX: against the theory's, and against gradients' differences."""

from unittest.mock import patch

import numpy as np
import pytest

from pcbench.backends.jax import hessians
from pcbench.contract import GaussNewtonInference
from pcbench.theory.nonlinear.layered import feedforward
from pcbench.theory.nonlinear.second_order import energy_hessian_product, loss_hessian_product
from tests.backends.jax.answers import ARCHITECTURES, Staged
from tests.backends.torch.layered import draw
from tests.helpers.closeness import SAME, apart

COUNT = 3


def split(problem, vector):
    parts = np.split(vector, np.cumsum([p.size for p in problem.parameters])[:-1])
    return [part.reshape(p.shape) for part, p in zip(parts, problem.parameters, strict=True)]


def joined(parts):
    return np.concatenate([part.ravel() for part in parts])


def vectors_of(problem, seed=0, count=COUNT):
    size = sum(p.size for p in problem.parameters)
    return np.random.default_rng(seed).standard_normal((count, size))


# No equilibrium: the implicit formula is compared as it stands. But the system must be solvable,
# which random activities far from one do not warrant.
def near_feedforward(problem):
    rng = np.random.default_rng(0)
    forward = feedforward(problem.judge, problem.x)
    hidden = [z + 0.05 * rng.standard_normal(z.shape) for z in forward[1:-1]]
    return [problem.x, *hidden, forward[-1] + 0.1 * problem.y]


@pytest.mark.parametrize("name", ["silu-pre", "leaky-pre-pooled"])
def test_of_the_loss(name):
    problem = draw(*ARCHITECTURES[name], 4, 0).masked()
    at = Staged(problem)
    vectors = vectors_of(problem)
    hessian = at.model.loss_hessian(at.x, at.y, at.precision)
    batch = problem.judge, problem.x, problem.y
    wanted = [
        loss_hessian_product(*batch, split(problem, v), problem.precision).product for v in vectors
    ]
    found = at.host(hessian.product(at.stage(vectors)))
    assert apart(found, np.stack([joined(w) for w in wanted])) < SAME
    assert hessian.residual == 0


@pytest.mark.parametrize("name", ["tanh-post", "leaky-pre-pooled"])
def test_of_the_equilibrated_energy(name):
    problem = draw(*ARCHITECTURES[name], 4, 0, 0.8)
    activities = near_feedforward(problem)
    at = Staged(problem)
    vectors = vectors_of(problem)
    hessian = at.model.energy_hessian([at.stage(z) for z in activities], at.precision)
    wanted = [
        energy_hessian_product(
            problem.judge, activities, split(problem, v), problem.precision
        ).product
        for v in vectors
    ]
    found = at.host(hessian.product(at.stage(vectors)))
    assert apart(found, np.stack([joined(w) for w in wanted])) < SAME
    assert 0 < hessian.residual < 1e-11
    with patch.object(hessians, "_BLOCK_NUMBERS", 100):  # one or two vectors at a time
        blocks = at.model.energy_hessian([at.stage(z) for z in activities], at.precision)
        assert apart(at.host(blocks.product(at.stage(vectors))), found) < 1e-12


def test_an_inner_solve_is_as_good_as_was_asked_and_says_so():
    problem = draw(*ARCHITECTURES["silu-pre"], 4, 0, 1.5).unmasked()
    at = Staged(problem)
    z = at.equilibrium(at.infer(GaussNewtonInference(residual=1e-12, max_steps=200)))
    left = []
    for residual in (1e-1, 1e-4, 1e-8):
        hessian = at.model.energy_hessian(z, residual=residual)
        hessian.product(at.stage(vectors_of(problem)))
        assert 0 < hessian.residual <= residual
        left.append(hessian.residual)
    assert left[0] > left[2]
    hessian.product(at.stage(np.full((COUNT, vectors_of(problem).shape[1]), np.inf)))
    assert not hessian.residual < 1  # a product that is no number says so of its system


def test_through_no_steps_of_inference_it_is_the_losss_and_through_many_the_energys():
    problem = draw(*ARCHITECTURES["tanh-post"], 4, 0, 0.6).unmasked()
    at = Staged(problem)
    vectors = at.stage(vectors_of(problem))
    z = at.equilibrium(at.infer(GaussNewtonInference(residual=1e-12, max_steps=200)))
    none, many = (
        at.host(at.model.unrolled_hessian(at.x, at.y, steps, 0.2).product(vectors))
        for steps in (0, 400)
    )
    loss = at.host(at.model.loss_hessian(at.x, at.y).product(vectors))
    energy = at.host(at.model.energy_hessian(z).product(vectors))
    assert apart(none, loss) < SAME
    assert apart(many, energy) < 1e-6 < 1e-2 < apart(loss, energy)
