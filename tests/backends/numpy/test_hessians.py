"""Hessians of the reference backend against differences of gradients and energies."""

import numpy as np
import pytest

from pcbench.contract import GaussNewtonInference, GradientInference
from tests.backends.reference_problems import (
    ALL,
    BENT,
    SMOOTH,
    STRAIGHT,
    batch,
    central,
    flat,
    modelled,
    moved,
    parametrised,
    posed,
)
from tests.helpers.closeness import apart


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
