"""Laws of escape: rates against whole Hessians, exponents against a chain followed to 1e-300."""

from math import log

import numpy as np
import pytest

from pcbench.theory.dynamics.escape import (
    escape_exponent,
    escape_rates,
    leading_share,
    logarithmic_exponent,
    standing,
    steps_per_e_fold,
    steps_to_fall,
)
from pcbench.theory.linear.saddles import origin_hessian
from tests.theory.dynamics.chain import chain_escape_times, stage_coefficient

RNG = np.random.default_rng(7)
X = RNG.standard_normal((12, 3))
Y = X @ RNG.standard_normal((3, 2)) + 0.1 * RNG.standard_normal((12, 2))
DEEP = (46.0, 92.0, 184.0, 345.0, 690.0)
"""``Λ``, down to σ = 1e-300."""


@pytest.mark.parametrize("objective", ["loss", "energy"])
@pytest.mark.parametrize("widths", [(3, 1, 2), (3, 2, 2, 2)])
def test_rates_are_the_negative_eigenvalues_of_the_whole_hessian(widths, objective):
    hessian = origin_hessian(widths, X, Y, objective).toarray()
    rates = escape_rates(X, Y, len(widths) - 1, objective)
    expected = -np.linalg.eigvalsh(hessian)
    expected = np.unique(expected[expected > 1e-12].round(10))[::-1]
    assert len(rates) == len(expected) == (0 if objective == "loss" and len(widths) > 3 else 2)
    assert rates == pytest.approx(expected, rel=1e-9)


def test_equal_rates_are_one():
    # Columns that are orthonormal to the last bit, and outputs that mix them.
    x = np.array([[1, 1, 1], [1, -1, 1], [1, 1, -1], [1, -1, -1]]) / 2
    mixed = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    equal = x @ np.diag([2.0, 2.0, 1.0]) @ mixed
    assert escape_rates(x, equal, 3, "energy") == pytest.approx([4 / 4, 1 / 4])


def test_a_network_without_hidden_layer_has_no_law():
    for law in (escape_exponent, logarithmic_exponent):
        with pytest.raises(ValueError, match="at least one hidden layer"):
            law(1)


def test_steps_per_e_fold_are_those_of_taking_the_steps():
    size, steps = 1.0, 0
    while size < np.exp(50):
        size, steps = size * (1 + 0.1 * 3.0), steps + 1
    assert steps / 50 == pytest.approx(steps_per_e_fold(3.0, 0.1), abs=1 / 50)


def test_the_leading_share_is_what_the_best_network_of_rank_1_takes_away():
    best = X @ np.linalg.lstsq(X, Y, rcond=None)[0]
    values = []
    for angle in np.linspace(0, np.pi, 2001):  # outputs are two: all directions of rank 1
        direction = np.array([np.cos(angle), np.sin(angle)])
        values.append(np.sum((Y - np.outer(best @ direction, direction)) ** 2))
    share = 1 - min(values) / np.sum(Y**2)
    assert leading_share(X, Y) == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize("layers", [3, 4, 5])
def test_descent_on_the_loss_of_a_chain_takes_the_power_of_the_scale(layers):
    scales = 0.4 * 2.0 ** -np.arange(4)
    weights = [scales[:, None, None].copy() for _ in range(layers)]
    one = np.ones((1, 1))
    fallen = steps_to_fall(
        weights, standing(one, one, "loss"), step=0.2, fraction=0.5, max_steps=10**6
    )
    first, second, third = np.diff(fallen.loss)
    exponent = escape_exponent(layers)
    # One step more or less of each time, and one step a halving that η leaves to the flow.
    assert np.log2(third / second) == pytest.approx(exponent, abs=6 / second)
    assert np.log2(second / first) == pytest.approx(exponent, abs=6 / first)


# The power of the logarithm


def local_powers(layers, **settings):
    times = chain_escape_times(layers, DEEP, **settings)
    return np.diff(np.log(times)) / np.diff(np.log(DEEP))


# By how much the law is off falls like Λ^-1 (L = 2), Λ^-1/3 (3, 4) and ln Λ/Λ (5, 6).
@pytest.mark.parametrize(("layers", "fall"), [(2, 1.0), (3, 1 / 3), (4, 1 / 3), (5, 0.5), (6, 0.7)])
def test_a_chain_halves_its_loss_in_the_power_of_the_logarithm(layers, fall):
    kappa = float(logarithmic_exponent(layers))
    off = np.abs(local_powers(layers) - kappa)
    assert off[-1] < 0.08
    # From pair to pair at scales that are twice as far, or nearly.
    assert (off[1:] < 1.1 * 2**-fall * off[:-1]).all()


@pytest.mark.parametrize(("layers", "gain"), [(3, 0.5), (4, 3.0), (5, 0.3)])
def test_the_power_is_the_same_whatever_a_chain_is_to_learn(layers, gain):
    kappa = float(logarithmic_exponent(layers))
    off = np.abs(local_powers(layers, gain=gain, fraction=0.8) - kappa)
    assert (off[1:] < off[:-1]).all()


def test_what_the_power_of_four_layers_is_off_by_goes_with_what_they_are_to_learn():
    gain = 3.0
    # T ∝ Λ² (1 + c Λ^-1/3).
    pair = 0.5 * (3 * gain / np.sqrt(2)) ** (4 / 3) * np.sqrt(DEEP[-1] * DEEP[-2]) ** (-1 / 3)
    off = 2 - local_powers(4, gain=gain)[-1]
    assert off == pytest.approx(pair / (3 * (1 + pair)), rel=0.05)


@pytest.mark.parametrize(("layers", "off"), [(5, 0.01), (6, 0.03)])
def test_the_last_stage_has_the_coefficient_of_the_integral(layers, off):
    grown = layers - 3
    leading = stage_coefficient(grown) * DEEP[-1] ** (grown + 1)
    assert chain_escape_times(layers, DEEP[-1:])[0] == pytest.approx(leading, rel=off)


def test_stage_coefficients_are_those_of_adams_and_bashforth():
    coefficients = [stage_coefficient(k) / 2**k for k in range(5)]
    assert coefficients == pytest.approx([1, 1 / 2, 2 * 5 / 12, 6 * 3 / 8, 24 * 251 / 720])


def test_with_three_and_four_layers_the_last_two_take_what_the_asymptotics_say():
    size = DEEP[-1]
    assert chain_escape_times(3, [size])[0] == pytest.approx((3 * size) ** (4 / 3) / 4, rel=0.05)
    pair = 0.5 * (3 / np.sqrt(2)) ** (4 / 3) * size ** (5 / 3)
    assert chain_escape_times(4, [size])[0] == pytest.approx(size**2 + pair, rel=0.03)


@pytest.mark.parametrize("layers", [2, 3, 4])
@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_a_chain_is_the_limit_of_small_steps(layers, gain):
    step, scale, fraction = 1e-2, 0.05, 0.6
    x, y = np.full((1, 1), 1 / gain), np.ones((1, 1))
    fallen = steps_to_fall(
        [np.full((1, 1, 1), scale)] * layers,
        standing(x, y, "energy"),
        step=step,
        fraction=fraction,
        max_steps=10**6,
    )
    flow = chain_escape_times(layers, [-log(scale)], fraction, gain)[0]
    # Euler's steps lag by about half a step for every e-fold of every weight's growth rate.
    assert fallen.loss[0] * step == pytest.approx(flow, abs=step * (2 + layers * -log(scale)))


@pytest.mark.parametrize(("scale", "message"), [(0.9, "has left before it starts")])
def test_a_chain_that_starts_beyond_the_threshold_is_refused(scale, message):
    with pytest.raises(ValueError, match=message):
        chain_escape_times(2, [-log(scale)])
