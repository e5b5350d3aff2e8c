import numpy as np
import pytest
from pydantic import ValidationError

from pcbench.data.toy_gaussian import ToyGaussian


def draw(places, seed=0, **parameters):
    parameters = ToyGaussian.Parameters(name="toy_gaussian", **parameters)
    return ToyGaussian(parameters, places).load(np.random.default_rng(seed))


def test_inputs_are_normal_around_one_with_deviation_a_tenth(places):
    n = 20_000
    x = draw(places, samples=n, dimension=2).x
    assert x.shape == (n, 2)
    # Five standard errors: 0.1/√n of the mean, 0.1/√(2n) of the deviation.
    np.testing.assert_allclose(x.mean(axis=0), 1, atol=5 * 0.1 / np.sqrt(n))
    np.testing.assert_allclose(x.std(axis=0), 0.1, atol=5 * 0.1 / np.sqrt(2 * n))
    assert abs(np.corrcoef(x.T)[0, 1]) < 5 / np.sqrt(n)


def test_targets_are_the_negated_inputs(places):
    samples = draw(places, samples=7)
    np.testing.assert_array_equal(samples.y, -samples.x)


def test_the_mixed_target_has_an_independent_second_coordinate_alone(places):
    n = 20_000
    samples = draw(places, samples=n, dimension=3, target="mixed")
    np.testing.assert_array_equal(samples.y[:, [0, 2]], -samples.x[:, [0, 2]])
    second = samples.y[:, 1]
    assert abs(second.mean() - 1) < 5 * 0.1 / np.sqrt(n)
    assert abs(second.std() - 0.1) < 5 * 0.1 / np.sqrt(2 * n)
    assert abs(np.corrcoef(second, samples.x[:, 1])[0, 1]) < 5 / np.sqrt(n)


def test_the_mixed_target_in_one_dimension_is_refused():
    with pytest.raises(ValidationError, match="second coordinate of y: set dimension >= 2"):
        ToyGaussian.Parameters(name="toy_gaussian", dimension=1, target="mixed")


def test_the_same_stream_draws_the_same_samples(places):
    first, again, other = (draw(places, seed=seed, samples=5).x for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
