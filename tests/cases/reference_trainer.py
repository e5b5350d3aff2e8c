"""A plain trainer, one replica at a time, around the model of the PyTorch backend.

Its methods are the parts that a trainer is made of, for faults to replace.
"""

from dataclasses import dataclass

import numpy as np

from pcbench.backends import Adam, Record, Trainer
from pcbench.backends.torch import TorchBackend


@dataclass
class Slope:
    """What one replica's step begins with."""

    loss: float
    energy: float
    gradients: list[np.ndarray]
    steps: int = 0
    residual: float = 0.0


class ReferenceTrainer(Trainer):
    """Correct, and slow."""

    def __init__(self, backend, network, begin, data, settings):
        self.backend, self.network, self.settings = backend, network, settings
        self.original, self.data = begin, data
        # In the backend's dtype, so that updates round as they would anywhere.
        self.theta = [host.astype(backend.dtype) for host in self._brought(begin)]
        self.begin(len(self.theta[0]))

    def begin(self, replicas):
        self.alive, self.count = list(range(replicas)), 0
        self.means = [np.zeros_like(array) for array in self.theta]
        self.squares = [np.zeros_like(array) for array in self.theta]
        rates = np.broadcast_to(np.asarray(self.settings.learning_rate, float), replicas)
        self.rates = rates.astype(self.theta[0].dtype)

    def _brought(self, model):
        return [self.backend.to_host(array).copy() for array in model.parameters]

    @property
    def model(self):
        return self.backend.plain(self.network, self.theta)

    def parameters(self):
        return [array.astype(np.float64) for array in self.theta]

    def run(self, steps, batches=None, every=1):
        made, details = [], []
        for step in range(steps):
            batch = self.chosen(batches, step)
            slopes = [self.slope(replica, batch) for replica in range(len(self.alive))]
            before = [array.copy() for array in self.theta]
            self.update([np.stack(g) for g in zip(*(s.gradients for s in slopes), strict=True)])
            made.append(self.values(slopes, batch))
            if step % every == 0:
                details.append(self.details(slopes, before))
        losses, energies = (np.array(column) for column in zip(*made, strict=True))
        norms, sizes, inferred, residuals = (np.array(c) for c in zip(*details, strict=True))
        recorded = np.arange(0, steps, every)
        return Record(losses, energies, recorded, norms, sizes, inferred, residuals)

    def chosen(self, batches, step):
        return None if batches is None else batches[step]

    def batch(self, replica, rows):
        """Inputs, targets and precision of one replica, on the device."""
        own = rows[replica] if rows is not None and rows.ndim == 2 else rows
        return [part if own is None else part[own] for part in self.data if part is not None]

    def one(self, replica):
        return self.backend.plain(self.network, [array[replica] for array in self.theta])

    def slope(self, replica, rows):
        model, (x, y, *precision) = self.one(replica), self.batch(replica, rows)
        host = self.backend.to_host
        loss = float(host(model.loss(x, y, *precision)))
        if self.settings.objective == "loss":
            gradients = [host(g) for g in model.loss_gradients(x, y, *precision)]
            return Slope(loss, loss, gradients)
        reached = model.infer(x, y, self.settings.inference, *precision)
        clamped = self.activities(replica, [*reached.activities[:-1], y])
        return Slope(
            loss,
            float(host(reached.energies).sum()),
            [host(g) for g in model.energy_gradients(clamped, *precision)],
            reached.steps,
            float(host(reached.residual)),
        )

    def activities(self, replica, reached):
        return reached

    def update(self, gradients):
        self.count += 1
        for index, gradient in enumerate(self.scaled(gradients)):
            move = self.direction(index, gradient.astype(self.theta[index].dtype))
            rates = self.rates.reshape(-1, *(1,) * (move.ndim - 1))
            self.theta[index] = self.theta[index] - rates * move

    def scaled(self, gradients):
        return [self.settings.scale * gradient for gradient in gradients]

    def direction(self, index, gradient):
        rule = self.settings.optimiser
        if not isinstance(rule, Adam):
            return gradient
        mean = rule.beta_1 * self.means[index] + (1 - rule.beta_1) * gradient
        square = rule.beta_2 * self.squares[index] + (1 - rule.beta_2) * gradient**2
        self.means[index], self.squares[index] = mean, self.shared(square)
        return self.moved(rule, mean, self.squares[index])

    def shared(self, square):
        return square

    def moved(self, rule, mean, square):
        unbiased = square / (1 - rule.beta_2**self.count)
        return mean / (1 - rule.beta_1**self.count) / (np.sqrt(unbiased) + rule.epsilon)

    def values(self, slopes, rows):
        return [slope.loss for slope in slopes], [slope.energy for slope in slopes]

    def details(self, slopes, before):
        norms = [[float(np.linalg.norm(g)) for g in slope.gradients] for slope in slopes]
        sizes = [
            [float(np.linalg.norm(a[r].astype(float))) for a in before] for r in range(len(slopes))
        ]
        inferred = float(max(slope.steps for slope in slopes))
        return norms, sizes, inferred, [slope.residual for slope in slopes]

    def keep(self, replicas):
        replicas = list(replicas)
        for arrays in (self.theta, self.means, self.squares):
            arrays[:] = [array[replicas] for array in arrays]
        self.rates, self.alive = self.rates[replicas], [self.alive[r] for r in replicas]


def training_with(trainer):
    """Return a PyTorch backend whose models are trained by this trainer."""

    class Backend(TorchBackend):
        def plain(self, network, parameters):
            return super().build(network, parameters)

        def build(self, network, parameters):
            model = super().build(network, parameters)
            model.trainer = lambda x, y, settings, precision=None: trainer(
                self, network, model, (x, y, precision), settings
            )
            return model

    return Backend
