"""What must follow from Theorem 1, whatever the network: bounds, symmetries, scaling laws."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.theory.linear import equilibrium
from pcbench.theory.linear.equilibrium import (
    equilibrated_energy,
    equilibrated_energy_gradient,
    equilibrium_activities,
    equilibrium_errors,
    loss_gradient,
    output_covariance_norm,
)
from pcbench.theory.rounding.bounds import hessian_rounding
from pcbench.theory.rounding.perturbation import equilibrium_rounding
from tests.helpers.closeness import SAME, apart
from tests.helpers.linear_problems import problems, random_problem, seeds

quick = settings(max_examples=40, deadline=None)


def rotations(problem, seed):
    """A random orthogonal matrix for every layer of units; input and output keep their axes."""
    rng = np.random.default_rng(seed)
    hidden = [np.linalg.qr(rng.standard_normal((len(w), len(w))))[0] for w in problem.weights[:-1]]
    return [np.eye(problem.x.shape[1]), *hidden, np.eye(problem.y.shape[1])]


@quick
@given(problem=problems())
def test_energy_lies_between_the_loss_and_the_loss_over_the_norm_of_s(problem):
    loss, energy = equilibrium.loss(*problem.parts), equilibrated_energy(*problem.parts)
    rounding = SAME * (1 + loss)
    assert loss / output_covariance_norm(problem.weights) <= energy + rounding
    assert energy <= loss + rounding


@quick
@given(problem=problems(max_layers=1))
def test_energy_and_loss_are_one_without_hidden_layers(problem):
    assert apart(equilibrated_energy(*problem.parts), equilibrium.loss(*problem.parts)) < SAME
    assert (
        apart(
            equilibrated_energy_gradient(*problem.parts),
            loss_gradient(*problem.parts),
        )
        < SAME
    )


@quick
@given(problem=problems(), seed=seeds)
def test_rotating_hidden_units_changes_no_energy_and_rotates_the_gradients(problem, seed):
    turns = rotations(problem, seed)

    def turned(layers):
        return [
            after @ layer @ before.T
            for before, layer, after in zip(turns, layers, turns[1:], strict=False)
        ]

    rotated = replace(problem, weights=turned(problem.weights))
    for quantity in (equilibrated_energy, equilibrium.loss):
        assert apart(quantity(*rotated.parts), quantity(*problem.parts)) < SAME
    for gradient in (equilibrated_energy_gradient, loss_gradient):
        assert apart(gradient(*rotated.parts), turned(gradient(*problem.parts))) < SAME


@quick
@given(problem=problems(min_layers=2), data=st.data())
def test_moving_weight_from_a_layer_to_the_next_lowers_the_energy_and_leaves_the_loss(
    problem, data
):
    """Lemma A's symmetry (2.6): the energy falls at the rate -(1/N) Σ ‖W_{L:l}ᵀ S⁻¹ r‖²."""
    l = data.draw(st.integers(2, len(problem.weights)), label="l")

    def rescaled(factor):
        weights = list(problem.weights)
        weights[l - 2], weights[l - 1] = weights[l - 2] / factor, weights[l - 1] * factor
        return replace(problem, weights=weights)

    assert apart(equilibrium.loss(*rescaled(2).parts), equilibrium.loss(*problem.parts)) < SAME
    energies = [equilibrated_energy(*rescaled(c).parts) for c in (1, 2, 4)]
    assert sorted(energies, reverse=True) == pytest.approx(energies, rel=SAME)

    gradients = equilibrated_energy_gradient(*problem.parts)
    along = [float(np.sum(g * w)) for g, w in zip(gradients, problem.weights, strict=True)]
    pulled = equilibrium_errors(*problem.parts)[l - 2]  # (W_{L:l}ᵀ S⁻¹ r), a sample a row
    expected = -float(np.sum(pulled**2)) / len(problem.x)
    scale = sum(map(abs, along))
    assert along[l - 1] - along[l - 2] == pytest.approx(expected, abs=SAME * (1 + scale))


@quick
@given(problem=problems(), factor=st.floats(0.1, 10))
def test_energy_is_quadratic_in_the_batch(problem, factor):
    scaled = replace(problem, x=factor * problem.x, y=factor * problem.y)
    energy = equilibrated_energy(*problem.parts)
    assert apart(equilibrated_energy(*scaled.parts), factor**2 * energy) < SAME * 1e3


@quick
@given(problem=problems(), copies=st.integers(2, 4))
def test_everything_is_a_mean_over_the_batch(problem, copies):
    repeated = replace(
        problem, x=np.tile(problem.x, (copies, 1)), y=np.tile(problem.y, (copies, 1))
    )
    for quantity in (
        equilibrium.loss,
        equilibrated_energy,
        loss_gradient,
        equilibrated_energy_gradient,
    ):
        assert apart(quantity(*repeated.parts), quantity(*problem.parts)) < SAME


@quick
@given(problem=problems())
def test_outputs_that_are_all_observed_are_outputs_without_a_mask(problem):
    everything, nothing = np.ones_like(problem.y, bool), np.zeros_like(problem.y, bool)
    energy = equilibrated_energy(*problem.parts)
    assert apart(equilibrated_energy(*problem.parts, everything), energy) < SAME
    assert equilibrated_energy(*problem.parts, nothing) == 0


@quick
@given(problem=problems())
def test_observing_more_outputs_never_lowers_the_energy(problem):
    fewer = problem.y > 0
    more = fewer | (problem.y < -0.5)
    low, high = (equilibrated_energy(*problem.parts, mask) for mask in (fewer, more))
    assert low <= high * (1 + SAME)


def test_the_theory_leaves_its_arguments_alone():
    problem, untouched = (random_problem((3, 4, 2)) for _ in range(2))
    equilibrated_energy_gradient(*problem.parts)
    loss_gradient(*problem.parts)
    equilibrium_activities(*problem.parts)
    equilibrium_rounding(*problem.parts, 2.0**-24)
    hessian_rounding(*problem.parts, 2.0**-24)
    for ours, theirs in zip(
        (*problem.weights, problem.x, problem.y),
        (*untouched.weights, untouched.x, untouched.y),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
