"""Networks, samples and settings that trainers are judged in."""

from itertools import pairwise

import numpy as np

from pcbench.case import Context
from pcbench.contract import (
    Adam,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    Sgd,
    TrainingSettings,
)
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.training.step_judge import StepJudge
from pcbench.networks import NetworkSpec

OBJECTIVES = {"BP": "loss", "PC": "energy"}
RATES = np.array([0.1, 0.3, 0.05])


class Lent(Context):
    """What a runner would lend, as far as a judge of steps asks for it."""

    def __init__(self, backend):
        self.backend = backend

    def rng(self, stream):
        return np.random.default_rng([1, *stream.encode()])

    def load(self, data):
        raise NotImplementedError

    def measure(self, name, work):
        raise NotImplementedError

    def progress(self, stage, steps, total):
        raise NotImplementedError


def pose(
    widths, dtype, *, activation="identity", convention="post", bias=False, std=None,
    replicas=3, samples=48, observed=None, seed=0,
):  # fmt: skip
    """A network at a point for every replica, and samples."""
    rng, spec = np.random.default_rng(seed), NetworkSpec(widths, activation, convention, bias)
    weights = [
        (std or shape[1] ** -0.5) * rng.standard_normal((replicas, *shape)) for shape in spec.shapes
    ]
    biases = [0.1 * rng.standard_normal((replicas, *shape)) for shape in spec.bias_shapes]
    parameters = rounded([*weights, *biases], dtype)
    x = rng.standard_normal((samples, widths[0]))
    y = np.eye(widths[-1])[rng.integers(0, widths[-1], samples)] + 0.1 * rng.standard_normal(
        (samples, widths[-1])
    )
    first, layers = [one[0] for one in parameters], spec.n_layers
    problem = Problem(spec, first[:layers], *rounded([x, y], dtype), first[layers:])
    if observed is not None:
        problem = problem.masked(observed, rng)
    return problem, parameters


def plateau(dtype):
    """A critical point of rank 1: outputs are predicted along their largest direction alone.

    Factors of a gradient are large there, and the gradient is nothing.
    """
    rng, width = np.random.default_rng(0), 12
    y = rng.standard_normal((8, 3)) @ rng.standard_normal((3, 8))
    out, sizes, inp = np.linalg.svd(y.T)
    hidden = rng.standard_normal((3, width))
    hidden /= np.linalg.norm(hidden, axis=1, keepdims=True)
    ends = [inp[0], *hidden, out[:, 0]]
    factor = sizes[0] ** 0.25
    weights = [factor * np.outer(b, a) for a, b in pairwise(ends)]
    weights = rounded(weights, dtype)
    problem = Problem(NetworkSpec((8, *(width,) * 3, 8)), weights, *rounded([np.eye(8), y], dtype))
    return problem, [np.stack([weight, weight]) for weight in weights]


def settings(learner, *, adam=False, inference=None, scale=0.5, rate=RATES):
    return TrainingSettings(
        objective=OBJECTIVES[learner],
        optimiser=Adam() if adam else Sgd(),
        learning_rate=1e-3 * rate / rate[0] if adam else rate,
        scale=scale,
        inference=inference or ExactInference(),
    )


def judge(backend, problem, parameters, asked, learner, *, batches=True, steps=3, batch=16):
    """All verdicts, by name without the learner's."""
    rows = None
    if batches:
        rng = np.random.default_rng(5)
        shape = (steps, len(parameters[0])) if batches == "own" else (steps,)
        rows = rng.integers(0, len(problem.x), (*shape, batch))
    found = StepJudge(Lent(backend), problem, asked, parameters, rows, learner).findings(steps)
    return {check.name.removesuffix(f" ({learner})"): check for check in found}


def failed(verdicts):
    return {name for name, check in verdicts.items() if not check.passed}


GAUSS_NEWTON = GaussNewtonInference(residual=1e-4)
PAPER = GradientInference(preset="paper")
NETWORKS = {
    "linear": {"widths": (5, 8, 8, 3)},
    "shallow": {"widths": (5, 3)},
    "near the origin": {"widths": (5, 8, 8, 3), "std": 0.01},
    "masked": {"widths": (5, 8, 8, 5), "observed": 0.7},
    "tanh": {"widths": (5, 8, 8, 3), "activation": "tanh", "bias": True},
    "relu": {"widths": (5, 8, 8, 3), "activation": "relu", "convention": "pre"},
}
ENGINES = {
    "linear": [None, PAPER],
    "shallow": [None],
    "near the origin": [None],
    "masked": [None, PAPER],
    "tanh": [GAUSS_NEWTON, PAPER],
    "relu": [PAPER],
}
SITUATIONS = [(network, inference) for network, engines in ENGINES.items() for inference in engines]
