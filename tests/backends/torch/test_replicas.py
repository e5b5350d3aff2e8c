"""Weights with a replica axis: every answer equals that of the replicas one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pcbench.contract import ExactInference, GradientInference
from pcbench.networks import NetworkSpec
from tests.backends.torch import answers
from tests.helpers.linear_problems import random_problem

R = 3
ENGINES = {
    "exact": ExactInference(),
    "gradient": GradientInference(max_steps=25, residual=1e-12),
}
# As many outputs as samples or fewer, and more; one layer alone; one replica alone.
SHAPES = [(3, 4, 5, 2), (3, 4, 8), (3, 2), (2, 3, 3, 3, 1)]
every_shape = pytest.mark.parametrize("widths", SHAPES)


def stacked(widths, replicas=R):
    """Return separate problems on one batch, and the model of all of them together."""
    singles = [random_problem(widths, samples=5, seed=seed) for seed in range(replicas)]
    singles = [replace(single, x=singles[0].x, y=singles[0].y) for single in singles]
    backend, _, x, y = answers.stage(singles[0])
    weights = [np.stack(layer) for layer in zip(*(s.weights for s in singles), strict=True)]
    return singles, backend.build(NetworkSpec(widths), weights), x, y


def close(together, separate):
    separate = torch.stack(separate)
    assert together.shape == separate.shape
    torch.testing.assert_close(together, separate, rtol=1e-12, atol=1e-12)


def each(singles, method):
    """Ask the replicas one by one."""
    return [method(*answers.stage(single)[1:]) for single in singles]


@every_shape
@pytest.mark.parametrize("replicas", [1, R])
def test_predictions_and_losses(widths, replicas):
    singles, model, x, y = stacked(widths, replicas)
    close(model.predict(x), each(singles, lambda m, x, y: m.predict(x)))
    close(model.loss(x, y), each(singles, lambda m, x, y: m.loss(x, y)))


@every_shape
def test_gradients_of_the_loss(widths):
    singles, model, x, y = stacked(widths)
    separate = each(singles, lambda m, x, y: m.loss_gradients(x, y))
    for layer, together in enumerate(model.loss_gradients(x, y)):
        close(together, [gradients[layer] for gradients in separate])


@every_shape
@pytest.mark.parametrize("engine", ENGINES)
def test_inference_with_energies_and_gradients(widths, engine):
    singles, model, x, y = stacked(widths)
    reached = model.infer(x, y, ENGINES[engine])
    separate = each(singles, lambda m, x, y: m.infer(x, y, ENGINES[engine]))
    close(reached.energies, [single.energies for single in separate])
    for layer, together in enumerate(reached.activities):
        close(together, [single.activities[layer] for single in separate])

    clamped = [*reached.activities[:-1], y]
    close(model.energies(clamped), each_at(singles, separate, "energies"))
    by_replica = each_at(singles, separate, "energy_gradients")
    for layer, together in enumerate(model.energy_gradients(clamped)):
        close(together, [gradients[layer] for gradients in by_replica])


def each_at(singles, separate, method):
    """Ask the replicas one by one at the activities that each of them inferred."""
    found = []
    for single, reached in zip(singles, separate, strict=True):
        _, model, _, y = answers.stage(single)
        found.append(getattr(model, method)([*reached.activities[:-1], y]))
    return found


@every_shape
@pytest.mark.parametrize("objective", answers.OBJECTIVES)
def test_hessian_products(widths, objective):
    singles, model, x, y = stacked(widths)
    vectors = torch.randn(
        R, 4, NetworkSpec(widths).n_parameters, dtype=x.dtype, generator=torch.manual_seed(0)
    )
    together = answers.hessian_of(model, objective, x, y).product(vectors)
    close(
        together,
        [
            answers.hessian_of(answers.stage(single)[1], objective, x, y).product(own)
            for single, own in zip(singles, vectors, strict=True)
        ],
    )


def test_residuals_of_replicas_that_stop_together():
    singles, model, x, y = stacked((3, 4, 5, 2))
    settings = GradientInference(max_steps=25, residual=1e-12)
    reached = model.infer(x, y, settings)
    close(reached.residual, each(singles, lambda m, x, y: m.infer(x, y, settings).residual))


def test_replicas_go_on_until_the_last_has_converged():
    singles, model, x, y = stacked((3, 4, 5, 2))
    settings = GradientInference(residual=1e-3)
    steps = each(singles, lambda m, x, y: m.infer(x, y, settings).steps)
    reached = model.infer(x, y, settings)
    assert len(set(steps)) > 1
    assert reached.steps == max(steps)
    assert reached.converged
    assert (reached.residual <= 1e-3).all()


def test_one_replica_that_diverges_leaves_the_whole_unconverged():
    _, model, x, y = stacked((3, 4, 5, 2))
    model.weights[1][1] *= 100
    reached = model.infer(x, y, GradientInference())
    assert not reached.converged
