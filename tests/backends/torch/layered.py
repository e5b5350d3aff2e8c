"""Networks of any layers with a batch, as the PyTorch backend and as the judge know them."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from pcbench.backends.torch import TorchBackend
from pcbench.networks import Convolution, NetworkSpec
from pcbench.theory.nonlinear import layered
from pcbench.theory.nonlinear.layered import Layered
from tests.helpers.linear_problems import samples, seeds, widths

# Image, then channels, kernel and pool of each convolution.
DENSE = (None, ())
CONVOLVED = [
    ((2, 4, 4), ((3, 3, 2),)),
    ((1, 4, 2), ((2, 5, 1), (3, 3, 2))),
    ((2, 4, 4), ((2, 1, 2), (2, 3, 1))),
]


@dataclass(frozen=True)
class Problem:
    """A network of any kind with a batch, as the backend and as the judge know it.

    ``activities`` are random: far from any equilibrium, and ending with the targets.
    """

    network: NetworkSpec
    judge: Layered
    activities: list[np.ndarray]
    precision: np.ndarray | None

    @property
    def parameters(self):
        return [*self.judge.weights, *(self.judge.biases or [])]

    @property
    def x(self):
        return self.activities[0]

    @property
    def y(self):
        return self.activities[-1]

    def masked(self, nothing=np.nan):
        """The same, with targets that are no numbers where the precision is 0."""
        target = np.where(self.precision > 0, self.y, nothing)
        return replace(self, activities=[*self.activities[:-1], target])

    def unmasked(self):
        return replace(self, precision=None)


def networks(
    activations=layered.ACTIVATIONS, bodies=(DENSE, *CONVOLVED), min_layers=1, max_layers=4, gain=1
):
    """Arguments of ``draw``: strategies may not run the package (see ``linear_problems``)."""
    return st.tuples(
        st.sampled_from(activations),
        st.sampled_from(layered.CONVENTIONS),
        st.booleans(),
        st.sampled_from(bodies),
        widths(min_layers=min_layers, max_layers=max_layers, max_width=5),
        samples,
        seeds,
        st.just(gain),
    )


def draw(activation, convention, bias, body, dense, samples, seed, gain=1, dtype="float64"):
    """Draw weights ``N(0, gain²/fan_in)``, activities, and precisions of which a third are 0.

    All are numbers that fit the dtype.
    """
    image, stages = body
    rng = np.random.default_rng(seed)

    def drawn(shape, scale=1.0):
        return np.asarray(scale * rng.standard_normal(shape), dtype).astype(np.float64)

    convolutions = []
    for channels, kernel, pool in stages:
        convolutions.append(Convolution(image, channels, kernel, pool))
        image = convolutions[-1].output_image
    first = [convolutions[0].inputs, *(c.outputs for c in convolutions)] if stages else dense[:1]
    units = (*first, *dense[1:])
    network = NetworkSpec(units, activation, convention, bias, tuple(convolutions))
    judge = Layered(
        [drawn(shape, gain / np.sqrt(np.prod(shape[1:]))) for shape in network.shapes],
        [drawn(shape) for shape in network.bias_shapes] if bias else None,
        activation,
        convention,
        [c.image for c in convolutions],
        [c.pool for c in convolutions],
    )
    activities = [drawn((samples, width)) for width in units]
    observed = rng.random(activities[-1].shape) < 0.7
    precision = np.asarray(rng.uniform(0.2, 3.0, observed.shape), dtype) * observed
    return Problem(network, judge, activities, precision.astype(np.float64))


def staged(problem, dtype="float64"):
    """Return a backend, the model, the activities and the precision on the device."""
    backend = TorchBackend("cpu", dtype)
    model = backend.build(problem.network, problem.parameters)
    precision = None if problem.precision is None else backend.to_device(problem.precision)
    return backend, model, [backend.to_device(z) for z in problem.activities], precision


ARCHITECTURES = [
    (activation, convention, bias, body, (4, 5, 3, 2))
    for activation, convention, bias in [("tanh", "post", True), ("leaky_relu", "pre", False)]
    for body in (DENSE, *CONVOLVED)
]


def replicated(architecture, gains=(1, 1, 1), samples=4):
    """Return a problem of each gain, on one batch, and the model of all of them together."""
    singles = [draw(*architecture, samples, seed, gain) for seed, gain in enumerate(gains)]
    shared = singles[0]
    singles = [
        replace(
            single,
            activities=[shared.x, *single.activities[1:-1], shared.y],
            precision=shared.precision,
        ).masked()
        for single in singles
    ]
    parameters = zip(*(single.parameters for single in singles), strict=True)
    together = TorchBackend().build(shared.network, [np.stack(layer) for layer in parameters])
    return singles, together
