"""Training in JAX: the same steps by the model's other methods, and replicas as they do alone."""

from dataclasses import replace

import numpy as np
import pytest

from pcbench.contract import (
    Adam,
    BackendUnavailableError,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    Sgd,
    TrainingSettings,
)
from pcbench.networks import Convolution, NearOrigin, NetworkSpec
from tests.backends.jax.answers import JaxBackend

SAMPLES, BATCH, STEPS, REPLICAS = 20, 8, 5, 2
NETWORKS = {
    "linear": NetworkSpec((5, 6, 7, 3)),
    "tanh": NetworkSpec((5, 6, 4, 3), "tanh", bias=True),
    "convolution": NetworkSpec(
        (32, 12, 3), "tanh", bias=True, convolutions=(Convolution((2, 4, 4), 3, 3, 2),)
    ),
}
GRADIENT = GradientInference(step=0.2, max_steps=7, residual=1e-9)
ADAM = Adam(beta_1=0.5, beta_2=0.9, epsilon=1e-3)


class Trial:
    """A network with replicas, data of which a part is not observed, and batches."""

    def __init__(self, name, dtype="float64"):
        rng = np.random.default_rng(0)
        self.network, self.backend = NETWORKS[name], JaxBackend("cpu", dtype)
        draws = [
            [
                *NearOrigin(std=0.4).draw(self.network, rng),
                *(0.1 * rng.standard_normal(shape) for shape in self.network.bias_shapes),
            ]
            for _ in range(REPLICAS)
        ]
        self.parameters = [np.stack(arrays) for arrays in zip(*draws, strict=True)]
        self.x = rng.standard_normal((SAMPLES, self.network.widths[0]))
        self.y = rng.standard_normal((SAMPLES, self.network.widths[-1]))
        self.precision = rng.choice([0.0, 0.5, 1.0], self.y.shape)
        self.y[self.precision == 0] = np.nan
        self.batches = rng.integers(0, SAMPLES, (STEPS, REPLICAS, BATCH))
        self.rates = rng.uniform(0.05, 0.2, REPLICAS)

    def settings(self, objective, optimiser=None, **changes):
        inference = ExactInference() if self.network.is_linear else GRADIENT
        asked = TrainingSettings(
            objective, optimiser or Sgd(), self.rates, scale=0.5, inference=inference
        )
        return replace(asked, **changes)

    def trainer(self, settings, parameters=None):
        own = self.parameters if parameters is None else parameters
        x, y, precision = map(self.backend.to_device, (self.x, self.y, self.precision))
        model = self.backend.build(self.network, own)
        return self.backend.trainer(model, x, y, settings, precision)

    def gradients(self, parameters, rows, settings):
        """Loss, energy and gradients of a replica's batch, by the model's other methods."""
        stage, host = self.backend.to_device, self.backend.to_host
        model = self.backend.build(self.network, parameters)
        x, y, precision = (stage(part[rows]) for part in (self.x, self.y, self.precision))
        loss = model.loss(x, y, precision)
        if settings.objective == "loss":
            return host(loss), host(loss), [host(g) for g in model.loss_gradients(x, y, precision)]
        reached = model.infer(x, y, settings.inference, precision)
        slopes = model.energy_gradients(reached.activities, precision)
        return host(loss), host(reached.energies).sum(), [host(g) for g in slopes]


def adam(settings, parameters, slopes, memory):
    """Kingma & Ba's algorithm 1, a line a line."""
    means, squares, steps = memory or ([0] * len(slopes), [0] * len(slopes), 0)
    first, second, steps = settings.beta_1, settings.beta_2, steps + 1
    means = [first * m + (1 - first) * g for m, g in zip(means, slopes, strict=True)]
    squares = [second * v + (1 - second) * g**2 for v, g in zip(squares, slopes, strict=True)]
    steady = [m / (1 - first**steps) for m in means]
    spread = [np.sqrt(v / (1 - second**steps)) for v in squares]
    moves = [m / (v + settings.epsilon) for m, v in zip(steady, spread, strict=True)]
    return moves, (means, squares, steps)


@pytest.mark.parametrize(
    ("name", "objective", "optimiser"),
    [
        ("linear", "energy", ADAM),
        ("tanh", "loss", ADAM),
        ("convolution", "energy", Sgd()),
    ],
    ids=str,
)
def test_every_replica_takes_the_steps_of_its_optimiser_on_its_own_batches(
    name, objective, optimiser
):
    trial = Trial(name)
    settings = trial.settings(objective, optimiser)
    trainer = trial.trainer(settings)
    record = trainer.run(STEPS, trial.batches, every=2)
    assert record.recorded.tolist() == [0, 2, 4]
    for index in range(REPLICAS):
        parameters, memory = [array[index] for array in trial.parameters], None
        for step in range(STEPS):
            rows = trial.batches[step, index]
            loss, energy, slopes = trial.gradients(parameters, rows, settings)
            np.testing.assert_allclose(record.losses[step, index], loss, rtol=1e-11)
            np.testing.assert_allclose(record.energies[step, index], energy, rtol=1e-11)
            if step % 2 == 0:
                for norms, arrays in (
                    (record.gradient_norms, slopes),
                    (record.parameter_norms, parameters),
                ):
                    sizes = [np.linalg.norm(array) for array in arrays]
                    np.testing.assert_allclose(norms[step // 2, index], sizes, rtol=1e-10)
            slopes = [0.5 * slope for slope in slopes]
            if isinstance(optimiser, Adam):
                slopes, memory = adam(optimiser, parameters, slopes, memory)
            parameters = [
                array - trial.rates[index] * slope
                for array, slope in zip(parameters, slopes, strict=True)
            ]
        for seen, due in zip(trainer.parameters(), parameters, strict=True):
            np.testing.assert_allclose(seen[index], due, rtol=0, atol=1e-11)


def test_runs_in_pieces_are_one_run_and_the_model_moves_on_with_them():
    trial = Trial("tanh")
    settings = trial.settings("loss", Adam())
    whole, pieces = trial.trainer(settings), trial.trainer(settings)
    model = pieces.model
    record = whole.run(4, trial.batches[:4])
    records = [pieces.run(2, trial.batches[at : at + 2]) for at in (0, 2)]
    for a, b in zip(whole.parameters(), pieces.parameters(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(record.losses, np.concatenate([r.losses for r in records]))
    assert model is pieces.model
    rebuilt = trial.backend.build(trial.network, pieces.parameters())
    x = trial.backend.to_device(trial.x)
    np.testing.assert_array_equal(model.predict(x), rebuilt.predict(x))


def test_replicas_that_are_kept_go_on_as_if_nothing_had_happened_and_one_may_diverge():
    trial = Trial("tanh")
    trial.rates = np.array([1e200, 0.1])
    settings = trial.settings("loss", Adam())
    whole, part = trial.trainer(settings), trial.trainer(settings)
    whole.run(2, trial.batches[:2])
    part.run(2, trial.batches[:2])
    part.keep([1])
    record = part.run(2, trial.batches[2:4, 1:])
    whole.run(2, trial.batches[2:4])
    assert record.losses.shape == (2, 1)
    for seen, due in zip(part.parameters(), whole.parameters(), strict=True):
        np.testing.assert_allclose(seen[0], due[1], rtol=1e-10)
        assert np.isfinite(seen).all()
        assert not np.abs(due[0]).max() < 1e100


def test_batches_that_all_share_and_all_rows_at_once():
    trial = Trial("linear")
    settings = trial.settings("energy")
    ends = []
    for batches in (None, np.tile(np.arange(SAMPLES), (2, 1))):
        trainer = trial.trainer(settings)
        trainer.run(2, batches)
        ends.append(trainer.parameters())
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_trainer_leaves_its_model_alone_and_repeats_itself_to_the_bit(dtype):
    trial = Trial("linear", dtype)
    x, y, precision = map(trial.backend.to_device, (trial.x, trial.y, trial.precision))
    model = trial.backend.build(trial.network, trial.parameters)
    before = np.array(model.predict(x))
    ends = []
    for _ in range(2):
        trainer = trial.backend.trainer(model, x, y, trial.settings("energy"), precision)
        trainer.run(STEPS, trial.batches)
        ends.append(trainer.parameters())
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(model.predict(x), before)


def test_norms_are_right_where_their_squares_would_vanish():
    trial = Trial("linear", "float32")
    trial.y *= 1e-15
    trial.parameters = [1e-30 * array for array in trial.parameters]
    record = trial.trainer(trial.settings("loss")).run(1)
    expected = [
        [np.linalg.norm(array[index]) for array in trial.parameters] for index in range(REPLICAS)
    ]
    np.testing.assert_allclose(record.parameter_norms[0], expected, rtol=1e-5)


def test_inference_that_is_iterative_tells_its_steps_and_its_residual():
    trial = Trial("tanh")
    settings = trial.settings("energy", inference=GaussNewtonInference(residual=1e-8))
    record = trial.trainer(settings).run(2, trial.batches[:2])
    assert (record.residuals > 0).all()
    assert (record.residuals < 1e-8).all()
    assert (record.inference_steps >= 2).all()
    # Too few steps leave a residual, and the record owns up to it.
    settings = trial.settings("energy", inference=GaussNewtonInference(residual=1e-8, max_steps=1))
    record = trial.trainer(settings).run(2, trial.batches[:2])
    assert record.inference_steps.tolist() == [1, 1]
    assert (record.residuals > 1e-8).all()


def test_exact_inference_of_a_network_that_is_not_linear_is_refused():
    trial = Trial("tanh")
    with pytest.raises(BackendUnavailableError, match="gauss_newton"):
        trial.trainer(trial.settings("energy", inference=ExactInference()))
