"""The reference's replicas and training: one after the other, and step by step as defined."""

from dataclasses import replace

import numpy as np
import pytest

from pcbench.contract import (
    Adam,
    BackendUnavailableError,
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    OdeInference,
    Sgd,
    TrainingSettings,
)
from tests.backends.reference_problems import BACKEND, BENT, STRAIGHT, batch, flat, modelled, posed
from tests.helpers.closeness import DIFFERENT, SAME, apart

REPLICAS = 3
NETWORKS = {name: (BENT | STRAIGHT)[name] for name in ("tanh-post", "biases", "pooled-tanh")}
ENGINES = (
    GaussNewtonInference(residual=1e-6, record=True),
    GradientInference(step=0.1, max_steps=7, residual=0.1, record=True),
    ErrorInference(step=0.1, max_steps=7, residual=0.1, record=True),
    OdeInference(max_time=1.0, residual=0.1, record=True),
)
OBJECTIVES = ("loss", "energy")
every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def replicated(network, samples=4):
    """Return the networks of several draws, each alone, with one batch, and all together."""
    drawn = [posed(network, samples, seed) for seed in range(REPLICAS)]
    together = [np.stack(own) for own in zip(*(p.parameters for p in drawn), strict=True)]
    return drawn[0], [modelled(p) for p in drawn], BACKEND.build(drawn[0].network, together)


def same(ours, theirs):
    for a, b in zip(ours, zip(*theirs, strict=True), strict=True):
        np.testing.assert_array_equal(a, np.stack(b))


@every_network
def test_replicas_answer_as_they_do_alone(network):
    problem, singles, model = replicated(network)
    x, y, precision = batch(problem)

    def ask(model, x, y, z, precision):
        return [
            model.predict(x),
            model.loss(x, y, precision),
            *model.loss_gradients(x, y, precision),
            model.energies(z, precision),
            *model.energy_gradients(z, precision),
        ]

    z = [x, *problem.activities[1:-1], y]
    same(ask(model, x, y, z, precision), [ask(own, x, y, z, precision) for own in singles])
    stacks = [np.stack([(r + 1) * part for r in range(REPLICAS)]) for part in (x, y, *z)]
    own = [
        ask(
            single,
            stacks[0][r],
            stacks[1][r],
            [part[r] for part in stacks[2:]],
            precision,
        )
        for r, single in enumerate(singles)
    ]
    same(ask(model, stacks[0], stacks[1], stacks[2:], precision), own)


@every_network
@pytest.mark.parametrize("settings", ENGINES, ids=lambda settings: settings.engine)
def test_each_replica_ends_where_it_would_alone(network, settings):
    problem, singles, model = replicated(network)
    x, y, precision = batch(problem)
    alone = [own.infer(x, y, settings, precision) for own in singles]
    found = model.infer(x, y, settings, precision)
    same(
        [*found.activities, found.energies, found.residual, found.sample_residuals],
        [[*a.activities, a.energies, a.residual, a.sample_residuals] for a in alone],
    )
    assert found.steps == max(a.steps for a in alone)
    assert found.converged == all(a.converged for a in alone)
    assert found.path.shape == (REPLICAS, found.steps + 1, problem.network.n_layers)
    for path, energies in zip(found.path, found.energies, strict=True):
        assert apart(path[-1], energies) < SAME  # once of all samples, once averaged over them


def test_replicas_have_hessians_of_their_own():
    problem, singles, model = replicated(STRAIGHT["matrices"])
    x, y, precision = batch(problem)
    vectors = np.random.default_rng(0).standard_normal((2, flat(problem.parameters).size))

    def hessians(model):
        reached = model.infer(x, y, ExactInference(), precision)
        return [
            model.loss_hessian(x, y, precision),
            model.energy_hessian(reached.activities, precision),
            model.unrolled_hessian(x, np.nan_to_num(y), 2, 0.1),
        ]

    products = [[h.product(vectors) for h in hessians(own)] for own in singles]
    same([h.product(vectors) for h in hessians(model)], products)
    ours = hessians(model)[1]
    ours.product(np.stack([vectors] * REPLICAS))
    assert 0 < ours.residual < 1e-12


class ByHand:
    """The rule of training, written out for one network."""

    def __init__(self, problem, settings):
        self.problem, self.settings, self.t = problem, settings, 0
        self.theta = flat(problem.parameters)
        self.m, self.v = np.zeros_like(self.theta), np.zeros_like(self.theta)

    def step(self, rows):
        x, y, precision = (part[rows] for part in batch(self.problem))
        ends = np.cumsum([p.size for p in self.problem.parameters])[:-1]
        parts = np.split(self.theta, ends)
        parameters = [
            part.reshape(p.shape) for part, p in zip(parts, self.problem.parameters, strict=True)
        ]
        model = modelled(self.problem, parameters)
        energy = loss = model.loss(x, y, precision)
        gradients = model.loss_gradients(x, y, precision)
        if self.settings.objective == "energy":
            reached = model.infer(x, y, self.settings.inference, precision)
            energy = reached.energies.sum()
            gradients = model.energy_gradients(reached.activities, precision)
        self._update(self.settings.scale * flat(gradients))
        return loss, energy, [np.linalg.norm(g) for g in gradients]

    def _update(self, g):
        self.t += 1
        if isinstance(self.settings.optimiser, Sgd):
            self.theta = self.theta - self.settings.learning_rate * g
            return
        one, two = self.settings.optimiser.beta_1, self.settings.optimiser.beta_2
        self.m = one * self.m + (1 - one) * g
        self.v = two * self.v + (1 - two) * g * g
        m, v = self.m / (1 - one**self.t), self.v / (1 - two**self.t)
        away = np.sqrt(v) + self.settings.optimiser.epsilon
        self.theta = self.theta - self.settings.learning_rate * m / away


@every_network
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("optimiser", [Sgd(), Adam(beta_1=0.5, beta_2=0.9, epsilon=1e-3)])
def test_training_takes_the_steps_of_its_settings(network, objective, optimiser):
    problem = posed(network, samples=6)
    inference = GradientInference(step=0.1, max_steps=3, residual=1e-9)
    settings = TrainingSettings(objective, optimiser, 0.1, scale=0.5, inference=inference)
    rows = np.random.default_rng(0).integers(0, 6, (5, 3))
    trainer = BACKEND.trainer(modelled(problem), *batch(problem)[:2], settings, problem.precision)
    record = trainer.run(5, rows, every=2)
    by_hand = ByHand(problem, settings)
    losses, energies, norms = zip(*(by_hand.step(own) for own in rows), strict=True)
    assert apart(record.losses, np.array(losses)) < SAME
    assert apart(record.energies, np.array(energies)) < SAME
    assert record.recorded.tolist() == [0, 2, 4]
    assert apart(record.gradient_norms, np.array(norms)[::2]) < SAME
    assert apart(flat(trainer.parameters()), by_hand.theta) < SAME
    assert apart(flat(trainer.model.parameters), by_hand.theta) < SAME
    assert apart(flat(modelled(problem).parameters), by_hand.theta) > DIFFERENT
    due = 3.0 if objective == "energy" else 0.0
    assert record.inference_steps.tolist() == [due] * 3
    assert ((record.residuals > 0) == (objective == "energy")).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_replicas_learn_as_they_do_alone_also_after_others_are_dropped(objective):
    problem, singles, model = replicated(NETWORKS["biases"], samples=6)
    x, y, precision = batch(problem)
    rates = np.array([0.05, 0.1, 0.2])
    settings = TrainingSettings(objective, Adam(), rates)
    rows = np.random.default_rng(0).integers(0, 6, (4, REPLICAS, 3))
    trainer = BACKEND.trainer(model, x, y, settings, precision)
    alone = [
        BACKEND.trainer(own, x, y, replace(settings, learning_rate=float(rate)), precision)
        for own, rate in zip(singles, rates, strict=True)
    ]

    def run(steps):
        each = [own.run(len(steps), steps[:, r], 2) for r, own in enumerate(alone)]
        together = trainer.run(len(steps), steps, 2)
        for name in ("losses", "energies", "gradient_norms", "parameter_norms", "residuals"):
            expected = np.stack([getattr(record, name) for record in each], axis=1)
            np.testing.assert_array_equal(getattr(together, name), expected)
        same(trainer.parameters(), [own.parameters() for own in alone])
        same([trainer.model.predict(x)], [[own.model.predict(x)] for own in alone])

    run(rows[:2])
    trainer.keep([2, 0])
    alone = [alone[2], alone[0]]
    run(rows[2:, [2, 0]])


def test_all_rows_are_seen_where_no_batches_are_given_and_one_batch_serves_all_replicas():
    problem, _, model = replicated(NETWORKS["biases"], samples=4)
    x, y, precision = batch(problem)
    settings = TrainingSettings("loss", Sgd(), 0.1)
    rows = np.tile(np.arange(4), (2, 1))
    found = [trained(model, x, y, settings, precision, given) for given in (None, rows)]
    found.append(trained(model, x, y, settings, precision, np.stack([rows] * REPLICAS, axis=1)))
    for losses, parameters in found[1:]:
        np.testing.assert_array_equal(losses, found[0][0])
        np.testing.assert_array_equal(parameters, found[0][1])
    assert found[0][0].shape == (2, REPLICAS)


def trained(model, x, y, settings, precision, batches):
    trainer = BACKEND.trainer(model, x, y, settings, precision)
    record = trainer.run(2, batches)
    return record.losses, flat(trainer.parameters())


def test_training_refuses_what_inference_would():
    problem = posed(BENT["tanh-post"])
    settings = TrainingSettings("energy", Sgd(), 0.1)
    with pytest.raises(BackendUnavailableError, match="use engine: gauss_newton"):
        BACKEND.trainer(modelled(problem), problem.x, problem.y, settings)
    settings = replace(settings, objective="loss")
    trainer = BACKEND.trainer(modelled(problem), problem.x, problem.y, settings)
    with pytest.raises(BackendUnavailableError, match="none to keep"):
        trainer.keep([0])
