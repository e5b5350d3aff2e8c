"""Replicas in JAX answer as each would alone, on a batch that they share."""

import numpy as np
import pytest

from pcbench.contract import ExactInference, GaussNewtonInference, GradientInference
from tests.backends.jax.answers import ARCHITECTURES, Staged
from tests.backends.torch.layered import replicated
from tests.helpers.closeness import apart

LINEAR = ("identity", "post", False, (None, ()), (4, 5, 3, 2))
# Gains so different that one replica arrives long before another, and one never.
GAINS = (0.2, 1.0, 4.0)


class Together:
    """Replicas, and each by itself."""

    def __init__(self, architecture, gains=GAINS):
        singles, _ = replicated(architecture, gains)
        self.alone = [Staged(single) for single in singles]
        stacked = [np.stack(p) for p in zip(*(s.parameters for s in singles), strict=True)]
        self.all = Staged(singles[0], parameters=stacked)

    def agree(self, ask, rtol=1e-10):
        """Hold what is asked of all against what each answers."""
        ours = self.all.host(ask(self.all))
        each = [at.host(ask(at)) for at in self.alone]
        for together, *parts in zip(ours, *each, strict=True):
            np.testing.assert_allclose(together, np.stack(parts), rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("name", ["silu-pre", "leaky-pre-pooled"])
def test_values_and_gradients(name):
    def ask(at):
        return [
            at.model.predict(at.x),
            at.model.loss(at.x, at.y, at.precision),
            *at.model.loss_gradients(at.x, at.y, at.precision),
        ]

    Together(ARCHITECTURES[name]).agree(ask)


def test_exact_inference_with_a_precision_and_without():
    replicas = Together(LINEAR)

    def ask(at):
        reached = at.infer(ExactInference())
        return [*reached.activities, reached.energies]

    replicas.agree(ask)
    for at in (replicas.all, *replicas.alone):
        at.precision, at.y = None, at.stage(np.nan_to_num(at.problem.y))
    replicas.agree(ask)


@pytest.mark.parametrize(
    "settings",
    [
        GradientInference(step=0.3, halve=True, residual=1e-3, max_steps=200, record=True),
        GaussNewtonInference(residual=1e-9, max_steps=60),
    ],
    ids=lambda settings: settings.engine,
)
def test_each_goes_as_it_would_alone_and_stays_where_it_ended(settings):
    replicas = Together(ARCHITECTURES["tanh-post"])
    steps, paths = [], []

    def ask(at):
        reached = at.infer(settings)
        steps.append(reached.steps)
        paths.append(reached.path)
        return [*reached.activities, reached.energies]

    # Two ways of summing the same lead to the same minimum, by steps that are not quite the same.
    replicas.agree(ask, rtol=1e-6)
    assert steps[0] == max(steps[1:])
    assert len(set(steps[1:])) > 1
    if settings.record:
        together = replicas.all.host(paths[0])
        for own, path, count in zip(together, paths[1:], steps[1:], strict=True):
            np.testing.assert_allclose(own[: count + 1], path, rtol=1e-6, atol=1e-12)
            assert (own[count:] == own[count]).all()


def test_hessians():
    replicas = Together(ARCHITECTURES["tanh-post"], gains=(0.5, 1.0, 0.8))
    size = sum(p.size for p in replicas.alone[0].problem.parameters)
    vectors = np.random.default_rng(0).standard_normal((3, 2, size))
    for index, at in enumerate((replicas.all, *replicas.alone)):
        at.vectors = at.stage(vectors if not index else vectors[index - 1])
    settings = GaussNewtonInference(residual=1e-9, max_steps=60)

    def ask(at):
        reached = at.infer(settings)
        z = [*reached.activities[:-1], at.y]
        return [
            at.model.loss_hessian(at.x, at.y, at.precision).product(at.vectors),
            at.model.energy_hessian(z, at.precision).product(at.vectors),
        ]

    ours, each = replicas.all.host(ask(replicas.all)), [at.host(ask(at)) for at in replicas.alone]
    for together, *parts in zip(ours, *each, strict=True):
        assert apart(together, np.stack(parts)) < 1e-6
