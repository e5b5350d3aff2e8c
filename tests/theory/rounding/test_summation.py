"""Rounding of sums of known terms: no order of blocks has larger partial sums than is assumed."""

from itertools import permutations

import numpy as np
import pytest

from pcbench.theory.rounding.summation import rounded_product, rounded_sum

U = 2.0**-24


def partial_sums(terms):
    """What is rounded: not the first term, which is a sum of nothing else."""
    return np.cumsum(terms)[1:]


@pytest.mark.parametrize("seed", range(5))
def test_single_terms_in_whatever_order(seed):
    """Up to eight terms are a block each: then the bound is on every order."""
    terms = np.random.default_rng(seed).standard_normal(6)
    _, variance = rounded_product(terms.reshape(1, -1), np.ones((6, 1)))
    worst = max(np.sum(partial_sums(order) ** 2) for order in permutations(terms))
    assert np.sum(terms**2) + worst <= variance[0, 0] <= 4 * worst + 4 * np.sum(terms**2)


@pytest.mark.parametrize("seed", range(5))
def test_blocks_in_whatever_order_and_terms_within_them_at_random(seed):
    rng = np.random.default_rng(seed)
    blocks = rng.standard_normal((8, 4)) + rng.standard_normal((8, 1))
    _, variance = rounded_product(blocks.reshape(1, -1), np.ones((32, 1)))
    for _ in range(50):
        order = rng.permutation(8)
        sums = [
            np.sum(partial_sums(rng.permuted(blocks[order], axis=1).ravel()) ** 2)
            for _ in range(400)
        ]
        assert np.sum(blocks**2) + np.mean(sums) <= variance[0, 0]


def test_the_product_is_the_product():
    rng = np.random.default_rng(0)
    for n in (1, 3, 8, 9, 100):
        a, b, bias = rng.standard_normal((4, n)), rng.standard_normal((n, 5)), rng.random(5)
        np.testing.assert_allclose(rounded_product(a, b)[0], a @ b, rtol=1e-12)
        np.testing.assert_allclose(rounded_product(a, b, bias)[0], a @ b + bias, rtol=1e-12)


def test_a_bias_is_one_more_term_that_no_product_rounds():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((4, 5)), rng.standard_normal((5, 3))
    ones = np.ones((4, 1))
    bias = rng.standard_normal(3)
    one_more = np.concatenate([a, ones], axis=1), np.concatenate([b, bias[None]])
    np.testing.assert_allclose(
        rounded_product(a, b, bias)[1], rounded_product(*one_more)[1] - bias**2, rtol=1e-12
    )


def test_what_is_zero_adds_nothing():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((4, 50)), rng.standard_normal((50, 3))
    a[0], a[1, 1:], a[2, ::2] = 0, 0, 0
    _, variance = rounded_product(a, b)
    np.testing.assert_array_equal(variance[0], 0)
    np.testing.assert_allclose(variance[1], (a[1, 0] * b[0]) ** 2)  # one product
    _, biased = rounded_product(a, b, np.ones(3))
    np.testing.assert_array_equal(biased[0], 0)
    assert (biased[1] > variance[1]).all()


def test_what_entries_bring_along_is_added():
    a, b = np.array([[3.0, 4.0]]), np.array([[1.0], [1.0]])
    plain, more = (rounded_product(a, b, inherited=k)[1] for k in (0.0, 2.0))
    assert float(more[0, 0] - plain[0, 0]) == pytest.approx(4 * 25)


@pytest.mark.parametrize("n", [10, 1000])
def test_the_variance_is_like_what_happens(n):
    """Within a factor of 10 in standard deviations, which norms alone are out by √n."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((50, n), (n, 50)))
    seen = np.zeros((50, 50), np.float32)
    for i in range(n):
        seen += a[:, i : i + 1] * b[i]
    exact, variance = rounded_product(a.astype(float), b.astype(float))
    rms = np.sqrt(np.mean((seen - exact) ** 2))
    allowed = U * np.sqrt(np.mean(variance))
    assert rms < allowed < 10 * rms
    by_norms = U * np.sqrt(2 * n) * np.linalg.norm(a) * np.linalg.norm(b) / 50
    assert allowed < 2 / np.sqrt(n) * by_norms


def test_sums_of_one_sign_are_no_larger_than_the_whole():
    terms = np.random.default_rng(0).random((3, 7))
    expected = np.sum(terms**2, axis=1) + np.sum(np.cumsum(terms, axis=1)[:, 1:] ** 2, axis=1)
    assert (rounded_sum(terms) >= expected).all()
