"""Descent on second moments against gradients one network at a time, and plain loops."""

from itertools import pairwise

import numpy as np
import pytest

from pcbench.theory.dynamics.escape import standing, steps_to_fall
from pcbench.theory.linear.equilibrium import (
    equilibrated_energy,
    equilibrated_energy_gradient,
    loss,
    loss_gradient,
)
from pcbench.theory.nonlinear.layered import Layered, layered_loss, layered_loss_gradients

RNG = np.random.default_rng(3)
X = RNG.standard_normal((9, 4))
Y = RNG.standard_normal((9, 3))
WIDTHS = [(4, 3), (4, 5, 3), (4, 2, 6, 3), (4, 5, 2, 7, 3)]


def replicas(widths, scale=1.0):
    return [scale * RNG.standard_normal((3, out, inp)) for inp, out in pairwise(widths)]


@pytest.mark.parametrize("objective", ["loss", "energy"])
@pytest.mark.parametrize("widths", WIDTHS)
def test_gradients_are_those_of_each_network_by_itself(widths, objective):
    weights = replicas(widths)
    losses, energies, gradients = standing(X, Y, objective)(weights)
    value, gradient = {
        "loss": (loss, loss_gradient),
        "energy": (equilibrated_energy, equilibrated_energy_gradient),
    }[objective]
    for replica in range(3):
        alone = [weight[replica] for weight in weights]
        assert losses[replica] == pytest.approx(loss(alone, X, Y), rel=1e-12)
        assert energies[replica] == pytest.approx(value(alone, X, Y), rel=1e-11)
        for ours, theirs in zip(gradients, gradient(alone, X, Y), strict=True):
            assert np.allclose(ours[replica], theirs, rtol=1e-11, atol=1e-11 * abs(theirs).max())


@pytest.mark.parametrize("objective", ["loss", "energy"])
def test_times_to_fall_are_those_of_a_plain_loop_interpolated_within_the_step(objective):
    weights = replicas((4, 5, 2, 3), scale=0.3)
    before = [weight.copy() for weight in weights]
    step, fraction = 0.1, 0.3
    seen = steps_to_fall(
        weights, standing(X, Y, objective), step=step, fraction=fraction, max_steps=2000
    )
    for ours, theirs in zip(weights, before, strict=True):
        assert np.array_equal(ours, theirs)
    gradient = {
        "loss": loss_gradient,
        "energy": equilibrated_energy_gradient,
    }[objective]
    value = {"loss": loss, "energy": equilibrated_energy}[objective]
    for replica in range(3):
        alone = [weight[replica] for weight in weights]
        first = loss(alone, X, Y), value(alone, X, Y)
        taken, last = [np.inf, np.inf], first
        for n in range(2000):
            now = loss(alone, X, Y), value(alone, X, Y)
            for measure in range(2):
                if np.isinf(taken[measure]) and now[measure] <= (1 - fraction) * first[measure]:
                    over = last[measure] - (1 - fraction) * first[measure]
                    taken[measure] = n - 1 + over / (last[measure] - now[measure])
            last = now
            alone = [w - step * g for w, g in zip(alone, gradient(alone, X, Y), strict=True)]
        assert [seen.loss[replica], seen.energy[replica]] == pytest.approx(taken, rel=1e-9)
        assert taken[0] > 3


def test_who_does_not_fall_in_the_budget_or_diverges_has_no_time():
    weights = replicas((4, 5, 3))
    weights = [np.concatenate([1e-3 * w[:1], 0 * w[:1], 1e3 * w[:1]]) for w in weights]
    stand = standing(X, Y, "loss")
    settings = {"step": 0.1, "fraction": 0.3}
    short = steps_to_fall(weights, stand, max_steps=3, **settings)
    long = steps_to_fall(weights, stand, max_steps=3000, **settings)
    assert np.isinf(short.loss).all()
    assert np.isfinite(long.loss).tolist() == [True, False, False]
    assert np.isfinite(long.diverged_at).tolist() == [False, False, True]


@pytest.mark.parametrize("convention", ["post", "pre"])
@pytest.mark.parametrize("widths", WIDTHS)
def test_gradients_of_networks_with_an_activation_are_those_of_each_by_itself(widths, convention):
    weights = replicas(widths)
    losses, _, gradients = standing(X, Y, "loss", "tanh")(weights)
    for replica in range(3):
        network = Layered([weight[replica] for weight in weights], None, "tanh", convention)
        assert losses[replica] == pytest.approx(layered_loss(network, X, Y), rel=1e-12)
        for ours, theirs in zip(gradients, layered_loss_gradients(network, X, Y)[0], strict=True):
            assert np.allclose(ours[replica], theirs, rtol=1e-12, atol=1e-13)
    with pytest.raises(ValueError, match="linear networks alone"):
        standing(X, Y, "energy", "tanh")


def test_a_step_that_is_too_long_diverges_and_a_short_one_of_the_same_network_falls():
    weights = replicas((4, 5, 5, 3), scale=0.1)
    for step, ends in ((0.1, True), (50.0, False)):
        fallen = steps_to_fall(
            weights, standing(X, Y, "loss", "tanh"), step=step, fraction=0.1, max_steps=2000
        )
        assert np.isfinite(fallen.loss).all() == ends
        assert np.isinf(fallen.diverged_at).all() == ends
        assert ends or fallen.diverged_at.min() < 5
