"""Linear networks with a batch, drawn at random: what the closed forms are tried on."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import Phase, settings
from hypothesis import strategies as st

from pcbench.networks import NetworkSpec
from tests.helpers.linear_definitions import tensors


@dataclass(frozen=True)
class Problem:
    """Weights and a batch, in NumPy's float64."""

    weights: list[np.ndarray]
    x: np.ndarray
    y: np.ndarray

    @property
    def network(self):
        return NetworkSpec((self.x.shape[1], *map(len, self.weights)))

    @property
    def parts(self):
        """Weights, inputs and targets."""
        return self.weights, self.x, self.y

    @property
    def tensors(self):
        """Weights, inputs and targets for the definitions."""
        return tensors(self.weights), *tensors([self.x, self.y])

    def rounded(self, dtype):
        """The same problem in numbers that fit the dtype."""
        *weights, x, y = (
            np.asarray(array, dtype).astype(np.float64) for array in (*self.weights, self.x, self.y)
        )
        return Problem(weights, x, y)


def random_problem(widths, samples=5, seed=0, gain=1.0):
    """Weights ``N(0, gain²/fan_in)`` and a standard normal batch."""
    rng = np.random.default_rng(seed)
    weights = [
        gain * rng.standard_normal((out, inp)) / np.sqrt(inp) for inp, out in pairwise(widths)
    ]
    x, y = (rng.standard_normal((samples, width)) for width in (widths[0], widths[-1]))
    return Problem(weights, x, y)


def problem_at(initialisation, widths, samples=5, seed=0):
    """Put the weights at a point, or a draw from the distribution, of the package's own."""
    batch = random_problem(widths, samples, seed)
    weights = initialisation.draw(batch.network, np.random.default_rng([seed, 1]))
    return Problem(weights, batch.x, batch.y)


# Simulating the rounding of a network takes a while, and to shrink a failure many times that.
costly = settings(max_examples=10, deadline=None, phases=set(Phase) - {Phase.shrink, Phase.explain})

seeds = st.integers(0, 2**32 - 1)
samples = st.integers(1, 6)


def widths(min_layers=1, max_layers=6, max_width=6, min_width=1):
    layers = st.lists(
        st.integers(min_width, max_width), min_size=min_layers + 1, max_size=max_layers + 1
    )
    return layers.map(tuple)


# Strategies may not run the package, whose checked annotations draw random numbers of their own. A
# point is therefore drawn as the arguments of ``problem_at``.
def points(initialisations, widths):
    return st.tuples(st.sampled_from(initialisations), widths, samples, seeds)


def problems(min_layers=1, max_layers=6, max_width=6, gains=(0.1, 1.0, 1.5), samples=samples):
    return st.builds(
        random_problem,
        widths=widths(min_layers, max_layers, max_width),
        samples=samples,
        seed=seeds,
        gain=st.sampled_from(gains),
    )
