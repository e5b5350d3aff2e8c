"""Training in torch: against the same steps by definition, and replicas against separate runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pcbench.backends.torch import TorchBackend
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

SAMPLES, BATCH, STEPS = 40, 8, 5
IMAGE = (2, 4, 4)

NETWORKS = {
    "linear": NetworkSpec((5, 6, 7, 3)),
    "no-hidden": NetworkSpec((5, 3)),
    "more-outputs-than-samples": NetworkSpec((5, 4, 12)),
    "chain": NetworkSpec((1, 1, 1, 1)),
    "tanh": NetworkSpec((5, 6, 7, 3), "tanh", bias=True),
    "relu-pre": NetworkSpec((5, 6, 3), "relu", "pre"),
    "convolution": NetworkSpec(
        (32, 12, 4, 3), "tanh", bias=True, convolutions=(Convolution(IMAGE, 3, 3, 2),)
    ),
}
GRADIENT = GradientInference(step=0.2, max_steps=7, residual=1e-9)


class Trial:
    """A network with replicas, data, and batches."""

    def __init__(self, network, replicas, *, std=0.4, dtype="float64", seed=0):
        rng = np.random.default_rng(seed)
        self.backend = TorchBackend("cpu", dtype)
        self.network = network
        draws = [
            [
                *NearOrigin(std=std).draw(network, rng),
                *(0.1 * rng.standard_normal(shape) for shape in network.bias_shapes),
            ]
            for _ in range(replicas)
        ]
        self.parameters = [np.stack(arrays) for arrays in zip(*draws, strict=True)]
        self.model = self.backend.build(network, self.parameters)
        self.x = self.backend.to_device(rng.standard_normal((SAMPLES, network.widths[0])))
        self.y = self.backend.to_device(rng.standard_normal((SAMPLES, network.widths[-1])))
        self.batches = rng.integers(0, SAMPLES, (STEPS, replicas, BATCH))
        self.rates = rng.uniform(0.05, 0.2, replicas)

    def settings(self, objective, **changes):
        exact = self.network.is_linear
        inference = ExactInference() if exact else GRADIENT
        usual = {"optimiser": Sgd(), "learning_rate": self.rates, "inference": inference}
        return TrainingSettings(objective, **(usual | changes))

    def train(self, settings, batches=None, every=2, precision=None):
        trainer = self.backend.trainer(self.model, self.x, self.y, settings, precision)
        chosen = self.batches if batches is None else batches
        return trainer, trainer.run(STEPS, chosen, every)

    def alone(self, index, settings, precision=None):
        """Train one replica as a network without that axis."""
        model = self.backend.build(self.network, [array[index] for array in self.parameters])
        single = replace(settings, learning_rate=float(self.rates[index]))
        trainer = self.backend.trainer(model, self.x, self.y, single, precision)
        return trainer, trainer.run(STEPS, self.batches[:, index], 2)


def gradients(model, x, y, settings, precision=None):
    """Loss, energy and gradients by the model's other methods."""
    loss = model.loss(x, y, precision)
    if settings.objective == "loss":
        return loss, loss, model.loss_gradients(x, y, precision)
    reached = model.infer(x, y, settings.inference, precision)
    slopes = model.energy_gradients(reached.activities, precision)
    return loss, reached.energies.sum(-1), slopes


@pytest.mark.parametrize("objective", ["loss", "energy"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_descent_is_the_rate_times_the_gradient_of_each_batch(name, objective, scale):
    trial = Trial(NETWORKS[name], replicas=2)
    settings = trial.settings(objective, scale=scale)
    trainer, record = trial.train(settings)
    model = trial.model
    for step in range(STEPS):
        rows = torch.from_numpy(trial.batches[step])
        loss, energy, slopes = gradients(model, trial.x[rows], trial.y[rows], settings)
        np.testing.assert_allclose(record.losses[step], loss, rtol=1e-12)
        np.testing.assert_allclose(record.energies[step], energy, rtol=1e-12)
        if step % 2 == 0:
            norms = torch.stack([slope.flatten(1).norm(dim=1) for slope in slopes], -1)
            sizes = torch.stack([array.flatten(1).norm(dim=1) for array in model.parameters], -1)
            np.testing.assert_allclose(record.gradient_norms[step // 2], norms, rtol=1e-11)
            np.testing.assert_allclose(record.parameter_norms[step // 2], sizes, rtol=1e-12)
        rates = torch.from_numpy(trial.rates) * scale
        model = model.along(
            [
                array - rates.reshape(-1, *(1,) * (array.dim() - 1)) * slope
                for array, slope in zip(model.parameters, slopes, strict=True)
            ]
        )
    assert record.recorded.tolist() == [0, 2, 4]
    for seen, due in zip(trainer.parameters(), model.parameters, strict=True):
        np.testing.assert_allclose(seen, due, rtol=0, atol=1e-12)


@pytest.mark.parametrize("objective", ["loss", "energy"])
@pytest.mark.parametrize("optimiser", [Sgd(), Adam(), Adam(beta_1=0.5, beta_2=0.9, epsilon=1e-3)])
@pytest.mark.parametrize("name", NETWORKS)
def test_replicas_equal_separate_runs(name, optimiser, objective):
    trial = Trial(NETWORKS[name], replicas=3)
    settings = trial.settings(objective, optimiser=optimiser)
    trainer, record = trial.train(settings)
    for index in range(3):
        alone, single = trial.alone(index, settings)
        for seen, due in zip(trainer.parameters(), alone.parameters(), strict=True):
            # Adam divides by gradients as small as they come.
            np.testing.assert_allclose(seen[index], due, rtol=1e-9, atol=1e-12)
        for field in ("losses", "energies", "gradient_norms", "parameter_norms", "residuals"):
            np.testing.assert_allclose(
                getattr(record, field)[:, index], getattr(single, field), rtol=1e-9, atol=1e-14
            )


@pytest.mark.parametrize("settings", [Adam(), Adam(beta_1=0.5, beta_2=0.9, epsilon=1e-3)])
def test_adam_is_that_of_torch(settings):
    trial = Trial(NETWORKS["tanh"], replicas=1)
    asked = trial.settings("loss", optimiser=settings, learning_rate=0.01, scale=3.0)
    trainer, _ = trial.train(asked)
    arrays = [array.clone().requires_grad_() for array in trial.model.parameters]
    peer = torch.optim.Adam(arrays, 0.01, (settings.beta_1, settings.beta_2), eps=settings.epsilon)
    for step in range(STEPS):
        rows = torch.from_numpy(trial.batches[step])
        loss = 3.0 * trial.model.along(arrays).loss(trial.x[rows], trial.y[rows]).sum()
        for array, slope in zip(arrays, torch.autograd.grad(loss, arrays), strict=True):
            array.grad = slope
        peer.step()
    for seen, due in zip(trainer.parameters(), arrays, strict=True):
        np.testing.assert_allclose(seen, due.detach(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["linear", "chain", "tanh", "more-outputs-than-samples"])
@pytest.mark.parametrize("objective", ["loss", "energy"])
def test_what_is_not_observed_leaves_no_trace(name, objective):
    trial = Trial(NETWORKS[name], replicas=2)
    rng = np.random.default_rng(1)
    precision = torch.from_numpy(rng.choice([0.0, 0.5, 1.0], trial.y.shape))
    settings = trial.settings(objective)
    trainer, record = trial.train(settings, precision=precision)
    trial.y = torch.where(precision > 0, trial.y, torch.nan)
    other, again = trial.train(settings, precision=precision)
    for seen, due in zip(other.parameters(), trainer.parameters(), strict=True):
        np.testing.assert_array_equal(seen, due)
        assert np.isfinite(seen).all()
    np.testing.assert_array_equal(record.energies, again.energies)
    # And it is the descent that it should be.
    model, rows = trial.model, torch.from_numpy(trial.batches[0])
    batch = (trial.x[rows], trial.y[rows])
    loss, energy, slopes = gradients(model, *batch, settings, precision[rows])
    np.testing.assert_allclose(record.losses[0], loss, rtol=1e-12)
    np.testing.assert_allclose(record.energies[0], energy, rtol=1e-12)
    norms = torch.stack([slope.flatten(1).norm(dim=1) for slope in slopes], -1)
    np.testing.assert_allclose(record.gradient_norms[0], norms, rtol=1e-11)


@pytest.mark.parametrize("name", ["linear", "tanh"])
@pytest.mark.parametrize("optimiser", [Sgd(), Adam()])
def test_replicas_that_are_kept_go_on_as_if_nothing_had_happened(name, optimiser):
    trial = Trial(NETWORKS[name], replicas=3)
    settings = trial.settings("energy", optimiser=optimiser)
    whole = trial.backend.trainer(trial.model, trial.x, trial.y, settings)
    part = trial.backend.trainer(trial.model, trial.x, trial.y, settings)
    for trainer in (whole, part):
        trainer.run(2, trial.batches[:2])
    part.keep([2, 0])
    whole.run(3, trial.batches[2:])
    record = part.run(3, trial.batches[2:, [2, 0]])
    assert record.losses.shape == (3, 2)
    for seen, due in zip(part.parameters(), whole.parameters(), strict=True):
        np.testing.assert_allclose(seen, due[[2, 0]], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["linear", "tanh", "convolution"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_run_gives_the_same_bits_and_leaves_its_model_alone(name, dtype):
    trial = Trial(NETWORKS[name], replicas=2, dtype=dtype)
    before = [array.clone() for array in trial.model.parameters]
    first, record = trial.train(trial.settings("energy"))
    second, again = trial.train(trial.settings("energy"))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(record.losses, again.losses)
    for kept, now in zip(before, trial.model.parameters, strict=True):
        assert torch.equal(kept, now)


def test_runs_in_pieces_are_one_run():
    trial = Trial(NETWORKS["linear"], replicas=2)
    settings = trial.settings("energy", optimiser=Adam())
    whole, record = trial.train(settings, every=1)
    pieces = trial.backend.trainer(trial.model, trial.x, trial.y, settings)
    records = [pieces.run(n, trial.batches[at : at + n]) for at, n in [(0, 1), (1, 3), (4, 1)]]
    for a, b in zip(whole.parameters(), pieces.parameters(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(record.losses, np.concatenate([r.losses for r in records]))


def test_batches_that_all_replicas_share_and_all_rows_at_once():
    trial = Trial(NETWORKS["linear"], replicas=2)
    settings = trial.settings("energy")
    shared = trial.batches[:, 0]
    twice = np.repeat(shared[:, None], 2, axis=1)
    one, _ = trial.train(settings, batches=shared)
    two, _ = trial.train(settings, batches=twice)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    full = trial.backend.trainer(trial.model, trial.x, trial.y, settings)
    full.run(STEPS)
    rows, _ = trial.train(settings, batches=np.tile(np.arange(SAMPLES), (STEPS, 1)))
    for a, b in zip(full.parameters(), rows.parameters(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_a_replica_that_diverges_leaves_the_others_alone():
    trial = Trial(NETWORKS["linear"], replicas=2)
    trial.rates = np.array([1e3, 0.1])
    long = np.concatenate([trial.batches] * 20)
    settings = trial.settings("energy")
    trainer = trial.backend.trainer(trial.model, trial.x, trial.y, settings)
    record = trainer.run(100, long)
    assert not np.isfinite(record.losses[-1, 0])
    alone = trial.backend.build(trial.network, [array[1] for array in trial.parameters])
    single = trial.backend.trainer(alone, trial.x, trial.y, replace(settings, learning_rate=0.1))
    np.testing.assert_allclose(record.losses[:, 1], single.run(100, long[:, 1]).losses, rtol=1e-9)


def test_the_model_of_a_trainer_moves_on_with_it():
    trial = Trial(NETWORKS["tanh"], replicas=2)
    trainer, _ = trial.train(trial.settings("loss"))
    rebuilt = trial.backend.build(trial.network, trainer.parameters())
    assert torch.equal(trainer.model.predict(trial.x), rebuilt.predict(trial.x))


def test_inference_that_is_iterative_tells_its_steps_and_its_residual():
    trial = Trial(NETWORKS["tanh"], replicas=2)
    _, record = trial.train(trial.settings("energy", inference=GRADIENT))
    assert record.inference_steps.tolist() == [7, 7, 7]
    assert (record.residuals > 1e-6).all()
    better = GaussNewtonInference(residual=1e-8)
    _, record = trial.train(trial.settings("energy", inference=better))
    assert (record.residuals < 1e-8).all()
    assert (record.inference_steps >= 1).all()


def test_exact_inference_of_a_network_that_is_not_linear_is_refused():
    trial = Trial(NETWORKS["tanh"], replicas=1)
    settings = trial.settings("energy", inference=ExactInference())
    with pytest.raises(BackendUnavailableError, match="gauss_newton"):
        trial.backend.trainer(trial.model, trial.x, trial.y, settings)
