"""Where networks are made to stand: distributions, shapes, saddles, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from pcbench.networks import (
    Convolution,
    KaimingUniform,
    LecunNormal,
    NearOrigin,
    NetworkSpec,
    Origin,
    Orthogonal,
    PenultimateOnly,
    XavierNormal,
    ZeroRank,
)
from pcbench.networks.initialisation import ImpossibleNetworkError

EVERY = [
    Origin(),
    NearOrigin(),
    LecunNormal(),
    XavierNormal(),
    KaimingUniform(),
    Orthogonal(),
    PenultimateOnly(),
    ZeroRank(),
]
RANDOM = EVERY[1:]
DEEP = NetworkSpec((3, 4, 5, 4, 2))

# How far a statistic of random draws may fall from its expectation: in standard errors, so that a
# right distribution fails once in more than a million draws.
SIGMAS = 5
quick = settings(max_examples=60, deadline=None)
# Widths with a hidden layer of two units or more before the last hidden layer.
with_split = st.lists(st.integers(2, 6), min_size=4, max_size=7).map(tuple)


def draw(initialisation, network, seed=0):
    return initialisation.draw(network, np.random.default_rng(seed))


def of(kind):
    return type(kind).__name__


@pytest.mark.parametrize("initialisation", EVERY, ids=of)
def test_weights_have_the_shapes_of_the_network_in_float64(initialisation):
    weights = draw(initialisation, DEEP)
    assert [weight.shape for weight in weights] == [(4, 3), (5, 4), (4, 5), (2, 4)]
    assert {weight.dtype for weight in weights} == {np.dtype(np.float64)}


@pytest.mark.parametrize("initialisation", RANDOM, ids=of)
def test_the_same_stream_draws_the_same_weights_and_another_others(initialisation):
    first, again, other = (draw(initialisation, DEEP, seed) for seed in (1, 1, 2))
    for ours, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    drawn = [weight for weight in range(DEEP.n_layers) if first[weight].any()]
    assert drawn
    for layer in drawn:
        assert not np.array_equal(first[layer], other[layer])


@pytest.mark.parametrize("initialisation", RANDOM, ids=of)
def test_layers_of_one_shape_are_drawn_independently(initialisation):
    weights = draw(initialisation, NetworkSpec((3, 3, 3, 3, 3)))
    drawn = [weight for weight in weights if weight.any()]
    for layer, weight in enumerate(drawn):
        assert not any(np.allclose(weight, other) for other in drawn[layer + 1 :])


DISTRIBUTIONS = {
    "near origin": (NearOrigin(), lambda out, inp: stats.norm(scale=0.005)),
    "near origin, its own σ": (NearOrigin(std=2.0), lambda out, inp: stats.norm(scale=2.0)),
    "LeCun": (LecunNormal(), lambda out, inp: stats.norm(scale=inp**-0.5)),
    "Xavier": (XavierNormal(), lambda out, inp: stats.norm(scale=(2 / (inp + out)) ** 0.5)),
    "Kaiming": (KaimingUniform(), lambda out, inp: stats.uniform(-(inp**-0.5), 2 * inp**-0.5)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_every_layer_has_the_moments_and_the_form_of_its_distribution(name):
    initialisation, distribution = DISTRIBUTIONS[name]
    for weight in draw(initialisation, NetworkSpec((100, 30, 200))):
        expected = distribution(*weight.shape)
        sigma, kurtosis = expected.std(), float(expected.stats("k")) + 3
        assert abs(weight.mean()) < SIGMAS * sigma / np.sqrt(weight.size)
        # The variance of a sample variance is σ⁴ (kurtosis - 1)/n.
        error = SIGMAS * sigma**2 * np.sqrt((kurtosis - 1) / weight.size)
        assert abs(weight.var() - sigma**2) < error
        assert stats.kstest(weight.ravel(), expected.cdf).pvalue > 1e-6


def test_the_origin_is_zero_and_draws_nothing():
    rng = np.random.default_rng(0)
    assert not any(weight.any() for weight in Origin().draw(DEEP, rng))
    assert rng.random() == np.random.default_rng(0).random()


@quick
@given(
    widths=st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple),
    gain=st.floats(0.1, 10),
    seed=st.integers(0, 2**32 - 1),
)
def test_orthogonal_layers_have_orthonormal_rows_or_columns_times_the_gain(widths, gain, seed):
    for weight in draw(Orthogonal(gain=gain), NetworkSpec(widths), seed):
        np.testing.assert_allclose(np.linalg.svd(weight, compute_uv=False), gain, rtol=1e-12)


def test_orthogonal_layers_are_haar_distributed():
    """Moments of the orthogonal group: without the sign fix, QR prefers some signs."""
    n, size = 4000, 3
    rng = np.random.default_rng(0)
    network = NetworkSpec((size, size))
    draws = np.stack([Orthogonal().draw(network, rng)[0] for _ in range(n)])
    traces = np.trace(draws, axis1=1, axis2=2)
    # E[Q] = 0 with Var(Q_ij) = 1/d; E[tr Q] = 0 and E[(tr Q)²] = 1 with E[(tr Q)⁴] ≤ 3.
    assert np.abs(draws.mean(axis=0)).max() < SIGMAS / np.sqrt(size * n)
    assert abs(traces.mean()) < SIGMAS / np.sqrt(n)
    assert abs((traces**2).mean() - 1) < SIGMAS * np.sqrt(2 / n)
    # Both components of O(d), rotations and reflections, are equally likely.
    assert abs(np.linalg.det(draws).mean()) < SIGMAS / np.sqrt(n)


def test_orthogonal_layers_of_one_unit_take_both_signs_equally_often():
    n = 1000
    rng = np.random.default_rng(0)
    signs = [Orthogonal().draw(NetworkSpec((1, 1)), rng)[0].item() for _ in range(n)]
    assert set(np.abs(signs)) == {1.0}
    assert abs(np.mean(signs)) < SIGMAS / np.sqrt(n)


def test_penultimate_only_leaves_every_other_layer_zero():
    network = NetworkSpec((30, 40, 50, 60, 20))
    weights = draw(PenultimateOnly(std=0.5), network)
    assert [bool(weight.any()) for weight in weights] == [False, False, True, False]
    drawn = weights[2]
    assert abs(drawn.std() - 0.5) < SIGMAS * 0.5 / np.sqrt(2 * drawn.size)
    assert stats.kstest(drawn.ravel(), stats.norm(scale=0.5).cdf).pvalue > 1e-6


@quick
@given(widths=with_split, seed=st.integers(0, 2**32 - 1))
def test_zero_rank_saddles_have_a_vanishing_product_and_no_vanishing_layer_but_the_last(
    widths, seed
):
    weights = draw(ZeroRank(), NetworkSpec(widths), seed)
    assert not weights[-1].any()
    product = np.linalg.multi_dot([*reversed(weights[:-1]), np.eye(widths[0])])
    sizes = [np.linalg.norm(weight) for weight in weights[:-1]]
    assert np.linalg.norm(product) <= 1e-14 * sum(widths) * np.prod(sizes)
    assert min(sizes) > 1e-6


def test_zero_rank_saddles_differ_in_where_and_how_far_the_product_breaks():
    network = NetworkSpec((8, 8, 8, 8, 8, 3))
    breaks = set()
    for seed in range(60):
        weights = draw(ZeroRank(), network, seed)
        ranks = tuple(int(np.linalg.matrix_rank(weight)) for weight in weights[:-1])
        breaks.add(ranks)
        # One layer reaches a subspace, the next sends exactly that one to zero.
        (k,) = (i for i, rank in enumerate(ranks[:-1]) if rank < 8 and ranks[i + 1] < 8)
        assert ranks[k] + ranks[k + 1] == 8
        assert sum(ranks) == 8 * (len(ranks) - 1)
    where = {min(i for i, rank in enumerate(ranks) if rank < 8) for ranks in breaks}
    assert where == {0, 1, 2}
    assert len(breaks) > 12


@pytest.mark.parametrize("widths", [(3, 2), (3, 4, 2)])
def test_penultimate_only_needs_two_hidden_layers(widths):
    for ask in (PenultimateOnly().check, lambda network: draw(PenultimateOnly(), network)):
        with pytest.raises(ImpossibleNetworkError, match="needs at least 2 hidden layers"):
            ask(NetworkSpec(widths))


@pytest.mark.parametrize("widths", [(3, 2), (3, 4, 2), (3, 1, 4, 2), (3, 1, 1, 5, 2)])
def test_zero_rank_needs_a_layer_where_the_product_can_break(widths):
    for ask in (ZeroRank().check, lambda network: draw(ZeroRank(), network)):
        with pytest.raises(ImpossibleNetworkError, match="hidden layer of at least 2 units"):
            ask(NetworkSpec(widths))


@pytest.mark.parametrize("initialisation", EVERY[:6], ids=of)
def test_other_points_exist_in_every_network(initialisation):
    for widths in [(1, 1), (3, 2), (1, 1, 1, 1)]:
        network = NetworkSpec(widths)
        initialisation.check(network)
        assert len(draw(initialisation, network)) == network.n_layers


@pytest.mark.parametrize("kind", [NearOrigin, PenultimateOnly])
@pytest.mark.parametrize("std", [0, -1, "wide"])
def test_a_deviation_is_positive(kind, std):
    with pytest.raises(ValidationError, match="std"):
        kind(std=std)


@pytest.mark.parametrize("initialisation", EVERY, ids=of)
def test_settings_are_frozen_and_unknown_ones_refused(initialisation):
    with pytest.raises(ValidationError, match="frozen"):
        initialisation.name = "other"
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(initialisation)(scale=3)


# --- Convolutions and biases

# Fan-in 5 · 9 and 20 · 9, fan-out 20 · 9 and 10 · 9; then a dense layer of 40 inputs.
FIRST, SECOND = Convolution((5, 4, 4), 20, 3, 2), Convolution((20, 2, 2), 10, 3)
CONVOLVED = NetworkSpec((80, 80, 40, 7), bias=True, convolutions=(FIRST, SECOND))
FANS = [(45, 180), (180, 90), (40, 7)]
DEVIATIONS = {
    "near origin": (NearOrigin(), lambda inp, out: 0.005),
    "LeCun": (LecunNormal(), lambda inp, out: inp**-0.5),
    "Xavier": (XavierNormal(), lambda inp, out: (2 / (inp + out)) ** 0.5),
    "Kaiming": (KaimingUniform(), lambda inp, out: (3 * inp) ** -0.5),
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_kernels_count_their_pixels_among_their_inputs(name):
    initialisation, deviation = DEVIATIONS[name]
    weights = draw(initialisation, CONVOLVED)
    assert [weight.shape for weight in weights] == [(20, 5, 3, 3), (10, 20, 3, 3), (7, 40)]
    for weight, fans in zip(weights, FANS, strict=True):
        # Twice the variance of a normal deviate's square is the most that any of these has.
        error = SIGMAS * np.sqrt(2 / weight.size)
        assert abs(weight.var() / deviation(*fans) ** 2 - 1) < error


def test_orthogonal_kernels_are_orthonormal_once_they_are_flat():
    for weight in draw(Orthogonal(gain=2.0), CONVOLVED):
        rows = weight.reshape(len(weight), -1)
        np.testing.assert_allclose(rows @ rows.T, 4 * np.eye(len(rows)), atol=1e-12)


def test_the_origin_of_convolutions_is_zero():
    assert [(w.shape, w.any()) for w in draw(Origin(), CONVOLVED)] == [
        (shape, False) for shape in CONVOLVED.shapes
    ]


@pytest.mark.parametrize("initialisation", EVERY, ids=of)
def test_biases_have_the_shapes_of_the_network_and_are_zero_but_for_kaiming(initialisation):
    biases = initialisation.draw_biases(CONVOLVED, np.random.default_rng(0))
    assert [(b.shape, b.dtype) for b in biases] == [((20,), float), ((10,), float), ((7,), float)]
    drawn = isinstance(initialisation, KaimingUniform)
    assert all(bool(bias.any()) == drawn for bias in biases)
    assert initialisation.draw_biases(DEEP, np.random.default_rng(0)) == []


def test_kaiming_draws_biases_from_the_distribution_of_their_layers_weights():
    network = NetworkSpec((100, 4000, 3000), bias=True)
    first, again = (
        KaimingUniform().draw_biases(network, np.random.default_rng(1)) for _ in range(2)
    )
    for bias, same, fan_in in zip(first, again, (100, 4000), strict=True):
        np.testing.assert_array_equal(bias, same)
        side = fan_in**-0.5
        assert stats.kstest(bias, stats.uniform(-side, 2 * side).cdf).pvalue > 1e-6
