"""A trainer in NumPy around the models of any backend: correct, plain and slow.

A backend's own trainer is closed: nobody can make it forget a bias. This one asks the backend for
gradients, replica by replica, and updates parameters itself; each of its methods is a part that a
fault may replace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from pcbench.audit.wrappers import FaultyModel, Host
from pcbench.contract import Adam, Model, Record, Trainer, TrainingSettings
from pcbench.contract.parts import Part

Rows = Int[np.ndarray, "*#R N"]


@dataclass(frozen=True, slots=True)
class Slope:
    """What a step of one replica begins with."""

    loss: float
    energy: float
    gradients: list[Host]
    steps: int = 0
    residual: float = 0.0


class FaultyTrainer(Trainer[Any]):
    """A trainer with a mistake; as it stands, with none.

    Subclass it as :class:`~pcbench.audit.FaultyModel`: mistake, part, and the method that it is in.
    """

    part: ClassVar[Part] = Part.TRAINING
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self, origin: FaultyModel, x: Any, y: Any, settings: TrainingSettings, precision: Any = None
    ) -> None:
        self.origin, self.backend, self.network = origin, origin.backend, origin.network
        self.settings, self._replicated = settings, origin.replicated
        host = self.backend.to_host
        self._data = [host(part).copy() for part in (x, y, precision) if part is not None]
        # In the backend's dtype, so that updates round as they would anywhere.
        staged = [np.asarray(array, self.backend.dtype) for array in origin.parameters]
        self.theta = [array.copy() if self._replicated else array[None] for array in staged]
        self.begin(len(self.theta[0]))

    rows: Rows | None
    """Those of the current step's batch."""

    def begin(self, replicas: int) -> None:
        """Set the optimiser's state up."""
        self.alive, self.count, self.rows = list(range(replicas)), 0, None
        self.means = [np.zeros_like(array) for array in self.theta]
        self.squares = [np.zeros_like(array) for array in self.theta]
        rates = np.broadcast_to(np.asarray(self.settings.learning_rate, float), replicas)
        self.rates = rates.astype(self.theta[0].dtype)

    @property
    def model(self) -> Model[Any]:  # type: ignore[override]
        """The network at its current parameters."""
        return self.backend.build(self.network, FaultyTrainer.parameters(self))

    def parameters(self) -> list[Float[np.ndarray, "*R ..."]]:
        """Bring weights, then biases, to the host."""
        arrays = self.theta if self._replicated else self._alone(self.theta, 0)
        return [array.astype(np.float64) for array in arrays]

    def keep(self, replicas: Sequence[int]) -> None:
        """Go on with these replicas alone, in this order."""
        chosen = list(replicas)
        for arrays in (self.theta, self.means, self.squares):
            arrays[:] = [array[chosen] for array in arrays]
        self.rates, self.alive = self.rates[chosen], [self.alive[r] for r in chosen]

    def run(
        self, steps: int, batches: Int[np.ndarray, "T *#R N"] | None = None, every: int = 1
    ) -> Record:
        """Take steps."""
        made = []
        for step in range(steps):
            self.rows = rows = self.chosen(batches, step)
            slopes = [self.slope(place, rows) for place in range(len(self.alive))]
            before = [array.copy() for array in self.theta]
            self.update([np.stack(g) for g in zip(*(s.gradients for s in slopes), strict=True)])
            made.append(self.recorded(slopes, before, rows))
        columns = {name: np.array([each[name] for each in made]) for name in made[0]}
        for name in columns.keys() - {"losses", "energies"}:
            columns[name] = columns[name][::every]
        if not self._replicated:
            for name in columns.keys() - {"inference_steps"}:
                columns[name] = columns[name][:, 0]
        return Record(recorded=np.arange(0, steps, every), **columns)

    def chosen(self, batches: Int[np.ndarray, "T *#R N"] | None, step: int) -> Rows | None:
        """Return the rows of a step's batch; ``None`` for all."""
        return None if batches is None else batches[step]

    def batch(self, place: int, rows: Rows | None) -> list[Host]:
        """Inputs, targets and precision of one replica."""
        own = rows[place] if rows is not None and rows.ndim == 2 else rows
        return [part if own is None else part[own] for part in self._data]

    def slope(self, place: int, rows: Rows | None) -> Slope:
        """Return what one replica's step begins with."""
        x, y, *rest = map(self.backend.to_device, self.batch(place, rows))
        model = self.backend.build(self.network, self._alone(self.theta, place))
        host = self.backend.to_host
        loss = float(host(model.loss(x, y, *rest)))
        if self.settings.objective == "loss":
            gradients = [host(g) for g in model.loss_gradients(x, y, *rest)]
            return Slope(loss, loss, gradients)
        reached = model.infer(x, y, self.settings.inference, *rest)
        clamped = self.activities(place, [*reached.activities[:-1], y])
        return Slope(
            loss,
            float(host(reached.energies).sum()),
            [host(g) for g in model.energy_gradients(clamped, *rest)],
            reached.steps,
            float(host(reached.residual)),
        )

    def activities(self, place: int, reached: list[Any]) -> list[Any]:
        """Return the activities that weights learn from."""
        return reached

    def update(self, gradients: list[Host]) -> None:
        """Take the optimiser's step."""
        self.count += 1
        for index, gradient in enumerate(self.scaled(gradients)):
            move = self.direction(index, gradient.astype(self.theta[index].dtype))
            rates = self.rates.reshape(-1, *(1,) * (move.ndim - 1))
            self.theta[index] = self.theta[index] - rates * move

    def scaled(self, gradients: list[Host]) -> list[Host]:
        """Return gradients as the optimiser sees them."""
        return [self.settings.scale * gradient for gradient in gradients]

    def direction(self, index: int, gradient: Host) -> Host:
        """Return what a learning rate is multiplied by."""
        rule = self.settings.optimiser
        if not isinstance(rule, Adam):
            return gradient
        mean = rule.beta_1 * self.means[index] + (1 - rule.beta_1) * gradient
        square = rule.beta_2 * self.squares[index] + (1 - rule.beta_2) * gradient**2
        self.means[index], self.squares[index] = mean, self.shared(square)
        return self.moved(rule, mean, self.squares[index])

    def shared(self, square: Host) -> Host:
        """Return Adam's second moments of all replicas."""
        return square

    def moved(self, rule: Adam, mean: Host, square: Host) -> Host:
        """Return Adam's direction from its moments."""
        unbiased = square / (1 - rule.beta_2**self.count)
        return mean / (1 - rule.beta_1**self.count) / (np.sqrt(unbiased) + rule.epsilon)

    def recorded(
        self, slopes: list[Slope], before: list[Host], rows: Rows | None
    ) -> dict[str, Any]:
        """Return what a :class:`Record` says of a step: by replica, but for inference steps."""
        arrays = [self._alone(before, place) for place in range(len(slopes))]
        return {
            "losses": [slope.loss for slope in slopes],
            "energies": [slope.energy for slope in slopes],
            "gradient_norms": [[float(np.linalg.norm(g)) for g in s.gradients] for s in slopes],
            "parameter_norms": [[float(np.linalg.norm(a)) for a in each] for each in arrays],
            "inference_steps": float(max((slope.steps for slope in slopes), default=0)),
            "residuals": [slope.residual for slope in slopes],
        }

    def _alone(self, arrays: Sequence[Host], place: int) -> list[Host]:
        return [np.asarray(array[place], float) for array in arrays]
