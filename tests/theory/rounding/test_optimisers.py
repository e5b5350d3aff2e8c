"""Steps of optimisers: torch's own take the same, and rounding stays within its bounds."""

import numpy as np
import pytest
import torch

from pcbench.theory.rounding.optimisers import AdamSteps, GradientDescent

STEPS = 4
RATE, SCALE = 0.01, 0.5


def gradients(rng, size=2_000):
    """Of all sizes, as those of a network are; some are exactly zero."""
    sizes = 10 ** rng.uniform(-9, 0, size)
    return [sizes * rng.standard_normal(size) * (np.arange(size) > 50) for _ in range(STEPS)]


def judge(name):
    if name == "sgd":
        return GradientDescent(RATE, SCALE)
    return AdamSteps(RATE, SCALE, 0.9, 0.999, 1e-8)


def torchs(name, theta):
    make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[name]
    return make([theta], lr=RATE)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_steps_are_those_of_torch(name):
    rng = np.random.default_rng(0)
    after, ours = rng.standard_normal(2_000), judge(name)
    theta = torch.tensor(after, requires_grad=True)
    optimiser = torchs(name, theta)
    for gradient in gradients(rng):
        theta.grad = torch.from_numpy(SCALE * gradient)
        optimiser.step()
        after, off = ours.step(after, gradient, 0.0, 2.0**-53)
        error = np.linalg.norm(theta.detach().numpy() - after)
        assert error <= off < 1e-11 * np.linalg.norm(after)


def in_float32(name, seed, gradient_off, spoil):
    """Errors and bounds of steps taken in float32, with gradients that are off."""
    rng, ours = np.random.default_rng(seed), judge(name)
    begin = rng.standard_normal(2_000).astype(np.float32)
    theta = torch.tensor(begin, requires_grad=True)
    optimiser, errors, bounds, moves = torchs(name, theta), [], [], []
    for gradient in gradients(rng):
        before = theta.detach().numpy().astype(np.float64)
        off = gradient_off * np.linalg.norm(gradient)
        theta.grad = torch.from_numpy((SCALE * spoil(rng, gradient, off)).astype(np.float32))
        optimiser.step()
        # What rounding the gradient to float32 adds is part of what it is off by.
        off += 2.0**-24 * np.linalg.norm(gradient)
        after, bound = ours.step(before, gradient, off, 2.0**-24)
        errors.append(np.linalg.norm(theta.detach().numpy().astype(np.float64) - after))
        bounds.append(bound)
        moves.append(np.linalg.norm(after - before))
    return np.array(errors), np.array(bounds), np.array(moves)


def everywhere(rng, gradient, off):
    error = rng.standard_normal(gradient.shape) * (gradient != 0)
    return gradient + off * error / np.linalg.norm(error)


def where_it_hurts(rng, gradient, off):
    """Turn over the smallest entries, as many as it takes."""
    order = np.argsort(np.abs(gradient))
    turned = order[np.cumsum((2 * gradient[order]) ** 2) <= off**2]
    spoilt = gradient.copy()
    spoilt[turned] *= -1
    return spoilt


@pytest.mark.parametrize("spoil", [everywhere, where_it_hurts])
@pytest.mark.parametrize("gradient_off", [1e-12, 1e-8, 1e-5])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_rounding_stays_within_its_bound(name, gradient_off, spoil):
    for seed in range(5):
        errors, bounds, _ = in_float32(name, seed, gradient_off, spoil)
        assert (errors <= bounds).all()


def test_the_bound_is_what_the_worst_gradients_make_of_adam():
    errors, bounds, moves = in_float32("adam", 0, 1e-5, where_it_hurts)
    assert errors[0] > 0.3 * bounds[0]
    assert (bounds[0] > 0.3 * moves[0]).all()  # where most entries are tiny, Adam is that sensitive


def test_the_bound_is_narrow_where_few_entries_are_small():
    rng, ours = np.random.default_rng(0), judge("adam")
    begin = np.zeros(250_000)
    for _ in range(STEPS):
        gradient = rng.standard_normal(begin.shape)
        off = 1e-6 * np.linalg.norm(gradient)
        after, bound = ours.step(begin, gradient, off, 2.0**-24)
        assert bound < 0.05 * np.linalg.norm(after - begin)


def test_what_is_lost_in_the_last_digit_is_no_more_than_the_step():
    begin, gradient = np.ones(100), 1e-9 * np.ones(100)
    after, bound = GradientDescent(1.0).step(begin, gradient, 0.0, 2.0**-24)
    change = np.linalg.norm(begin - after)
    stayed = (begin.astype(np.float32) - gradient.astype(np.float32)).astype(np.float64)
    assert np.linalg.norm(stayed - after) == pytest.approx(change)
    assert change <= bound < 1.001 * change


def test_without_memory_of_squares_there_is_no_bound():
    with pytest.raises(ValueError, match="beta_2 = 0"):
        AdamSteps(RATE, SCALE, 0.9, 0.0, 1e-8)
    signs = AdamSteps(1.0, 1.0, 0.0, 0.0, 1e-12)
    after, _ = signs.step(np.zeros(3), np.array([3.0, -0.1, 0.0]), 0.0, 2.0**-53)
    np.testing.assert_allclose(after, [-1.0, 1.0, 0.0])


def test_a_product_may_be_added_row_by_row():
    rng, rows = np.random.default_rng(0), 10
    left, right = rng.standard_normal((2, rows, 60)).astype(np.float32)
    begin = rng.standard_normal((60, 60)).astype(np.float32)
    stepped = begin.copy()
    for a, b in zip(left, right, strict=True):
        stepped -= np.float32(RATE) * np.outer(a, b)
    exact = left.astype(float).T @ right.astype(float)
    # What one product of a row rounds, and the rate, is part of what the gradient is off by.
    off = 4 * 2.0**-24 * np.linalg.norm(np.abs(left.astype(float)).T @ np.abs(right))
    bounds = []
    for terms in (1, rows):
        judge = GradientDescent(RATE)
        after, bound = judge.step(begin.astype(float), exact, off, 2.0**-24, terms)
        bounds.append(bound)
    error = np.linalg.norm(stepped.astype(float) - after)
    assert bounds[0] < bounds[1] < 4 * bounds[0]
    assert 0.2 * bounds[1] < error <= bounds[1]
