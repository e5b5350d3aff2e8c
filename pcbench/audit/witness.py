"""What a case asks of a backend, and whether a mistake changed any answer.

A fault that changes no answer is no test of a suite: a derivative that is forgotten makes no
difference where all activations are the identity. So until the first difference a witness asks
the correct backend the same question and compares, bit for bit; after it, nothing is compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pcbench.audit.traits import Trait, inference_uses, network_uses, training_uses
from pcbench.audit.wrappers import FaultyBackend, FaultyModel, Host, given
from pcbench.backends import (
    Backend,
    Capability,
    Hessian,
    Inference,
    InferenceSettings,
    Model,
    Record,
    Trainer,
    TrainingSettings,
)
from pcbench.networks import NetworkSpec


@dataclass(frozen=True, slots=True)
class Occasion:
    """One sort of question.

    Attributes
    ----------
    method
        Of the contract.
    uses
        What the answer takes: capabilities, and :class:`~pcbench.audit.traits.Trait` s.
    """

    method: str
    uses: frozenset[str]


@dataclass(slots=True)
class Testimony:
    """What was seen.

    Attributes
    ----------
    occasions
        The sorts of questions asked.
    differs
        Whether some answer was not that of the correct backend.
    """

    occasions: set[Occasion] = field(default_factory=set)
    differs: bool = False


class OutOfTime(BaseException):
    """A case takes too long under a fault."""


class Witness(FaultyBackend):
    """Passes questions on to a backend and keeps what it sees.

    Parameters
    ----------
    judged
        Who answers.
    correct
        Who knows better; ``None`` where nothing is to be compared.
    deadline
        When no further question is taken, in seconds of :func:`time.monotonic`.
    """

    def __init__(
        self,
        judged: Backend[Any],
        correct: Backend[Any] | None = None,
        deadline: float = math.inf,
    ) -> None:
        super().__init__(judged)
        self.correct, self.testimony, self._deadline = correct, Testimony(), deadline
        self._first_batch: int | None = None

    def note(self, method: str, uses: frozenset[str]) -> None:
        """Keep what is asked.

        Raises
        ------
        OutOfTime
            After the deadline.
        """
        self.testimony.occasions.add(Occasion(method, uses))
        if time.monotonic() > self._deadline:
            raise OutOfTime

    def of_another_size(self, batch: Any) -> bool:
        """Whether a batch is not of the size of the first one."""
        samples = self.inner.to_host(batch).shape[-2]
        self._first_batch = self._first_batch or samples
        return bool(samples != self._first_batch)

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Build the model that is judged, and the correct one."""
        uses = network_uses(network, parameters)
        self.note("build", uses)
        correct = None
        if self.correct is not None and not self.testimony.differs:
            correct = self.correct.build(network, parameters)
        judged = self.inner.build(network, parameters)
        return WitnessedModel(judged, correct, self, network, parameters, uses)

    def to_device(self, array: Host) -> Any:
        """Stage an array."""
        self.note("to_device", frozenset())
        return self._compared(lambda backend: backend.to_device(array))

    def to_host(self, array: Any) -> Host:
        """Bring an array to the host."""
        self.note("to_host", frozenset())
        found: Host = self._compared(lambda backend: backend.to_host(array))
        return found

    def _compared(self, ask: Callable[[Backend[Any]], Any]) -> Any:
        found = ask(self.inner)
        if self.correct is not None and not self.testimony.differs:
            self.testimony.differs = not self.same(found, ask(self.correct))
        return found

    def same(self, one: Any, other: Any) -> bool:
        """Whether two answers are the same, bit for bit."""
        if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
            return one.shape == other.shape and one.tobytes() == other.tobytes()
        if is_dataclass(one) and type(one) is type(other):
            names = [each.name for each in fields(one)]
            return all(self.same(getattr(one, name), getattr(other, name)) for name in names)
        if isinstance(one, list | tuple) and isinstance(other, list | tuple):
            return len(one) == len(other) and all(map(self.same, one, other))
        one, other = _plain(one), _plain(other)
        if one is None or other is None or isinstance(one, bool | int | float | str):
            return type(one) is type(other) and (one == other or one != one != other != other)
        return self.same(np.array(self.inner.to_host(one)), np.array(self.inner.to_host(other)))


class WitnessedModel(FaultyModel):
    """Passes questions on to a model and keeps what it sees."""

    def __init__(
        self,
        judged: Model[Any],
        correct: Model[Any] | None,
        witness: Witness,
        network: NetworkSpec,
        parameters: Sequence[Host],
        uses: frozenset[str],
    ) -> None:
        super().__init__(judged, witness, network, parameters, witness.memory)
        self._correct, self._witness, self._uses = correct, witness, uses
        self._asked_for: set[str] = set()

    def predict(self, x: Any) -> Any:
        """Pass it on."""
        return self._asked("predict", [x], lambda model: model.predict(x))

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Pass it on."""
        rest = given(precision=precision)
        return self._asked("loss", [x, y], lambda model: model.loss(x, y, **rest), rest)

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Pass it on."""
        rest = given(precision=precision)
        found: Sequence[Any] = self._asked(
            "loss_gradients", [x, y], lambda model: list(model.loss_gradients(x, y, **rest)), rest
        )
        return found

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Pass it on."""
        rest = given(precision=precision)
        found: Inference[Any] = self._asked(
            "infer",
            [x, y],
            lambda model: model.infer(x, y, settings, **rest),
            rest,
            inference_uses(settings),
        )
        if not found.converged:
            unfinished = inference_uses(settings) | {Trait.UNFINISHED}
            self._witness.note("infer", self._takes(rest, unfinished))
        return found

    def energies(self, activities: Sequence[Any], precision: Any = None) -> Any:
        """Pass it on."""
        rest = given(precision=precision)
        return self._asked(
            "energies", list(activities), lambda model: model.energies(activities, **rest), rest
        )

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Pass it on."""
        rest = given(precision=precision)
        found: Sequence[Any] = self._asked(
            "energy_gradients",
            list(activities),
            lambda model: list(model.energy_gradients(activities, **rest)),
            rest,
        )
        return found

    def loss_hessian(self, x: Any, y: Any, precision: Any = None) -> Hessian[Any]:
        """Pass it on."""
        rest = given(precision=precision)
        return self._hessian("loss_hessian", lambda model: model.loss_hessian(x, y, **rest), rest)

    def energy_hessian(
        self, activities: Sequence[Any], precision: Any = None, residual: float | None = None
    ) -> Hessian[Any]:
        """Pass it on."""
        rest = given(precision=precision, residual=residual)
        return self._hessian(
            "energy_hessian", lambda model: model.energy_hessian(activities, **rest), rest
        )

    def unrolled_hessian(self, x: Any, y: Any, steps: int, step: float) -> Hessian[Any]:
        """Pass it on."""
        return self._hessian(
            "unrolled_hessian",
            lambda model: model.unrolled_hessian(x, y, steps, step),
            {},
            Capability.UNROLLED_HESSIAN,
        )

    def trainer(
        self, x: Any, y: Any, settings: TrainingSettings, precision: Any = None
    ) -> Trainer[Any]:
        """Pass it on."""
        rest = given(precision=precision)
        self._note("trainer", rest, training_uses(settings))
        judged, correct = self._both(lambda model: model.trainer(x, y, settings, **rest))
        return WitnessedTrainer(judged, correct, self._witness)

    def _takes(self, rest: dict[str, Any], more: Iterable[str]) -> frozenset[str]:
        masked = {Capability.PRECISION} if "precision" in rest else set()
        return self._uses.union(more, masked)

    def _note(self, method: str, rest: dict[str, Any], more: Iterable[str] = ()) -> None:
        again = {Trait.ASKED_AGAIN} if method in self._asked_for else set()
        self._asked_for.add(method)
        self._witness.note(method, self._takes(rest, again.union(more)))

    def _asked(
        self,
        method: str,
        inputs: list[Any],
        ask: Callable[[Model[Any]], Any],
        rest: dict[str, Any] | None = None,
        more: Iterable[str] = (),
    ) -> Any:
        other = {Trait.OTHER_BATCH} if self._witness.of_another_size(inputs[0]) else set()
        self._note(method, rest or {}, other.union(more))
        witness, testimony = self._witness, self._witness.testimony
        if self._correct is None or testimony.differs:
            return ask(self.inner)
        # The correct model first: a mistake may be to write into what it was given.
        expected = ask(self._correct)
        before = [np.array(witness.inner.to_host(each)) for each in inputs]
        with _failing(testimony):
            found = ask(self.inner)
        after = [np.array(witness.inner.to_host(each)) for each in inputs]
        testimony.differs = not (witness.same(found, expected) and witness.same(before, after))
        return found

    def _hessian(
        self,
        method: str,
        make: Callable[[Model[Any]], Hessian[Any]],
        rest: dict[str, Any],
        uses: Capability = Capability.HESSIAN,
    ) -> Hessian[Any]:
        self._note(method, rest, {uses})
        return WitnessedHessian(*self._both(make), self._witness)

    def _both(self, make: Callable[[Model[Any]], Any]) -> tuple[Any, Any]:
        testimony = self._witness.testimony
        if self._correct is None or testimony.differs:
            return make(self.inner), None
        correct = make(self._correct)
        with _failing(testimony):
            return make(self.inner), correct


class WitnessedHessian(Hessian[Any]):
    """Passes products on and keeps what it sees."""

    def __init__(
        self, judged: Hessian[Any], correct: Hessian[Any] | None, witness: Witness
    ) -> None:
        self._judged, self._correct, self._witness = judged, correct, witness

    @property
    def residual(self) -> float:  # type: ignore[override]
        """The judged one's."""
        return self._judged.residual

    def product(self, vectors: Any) -> Any:
        """Pass it on."""
        testimony = self._witness.testimony
        if self._correct is None or testimony.differs:
            return self._judged.product(vectors)
        expected = self._correct.product(vectors)
        with _failing(testimony):
            found = self._judged.product(vectors)
        testimony.differs = (
            not self._witness.same(found, expected)
            or self._judged.residual != self._correct.residual
        )
        return found


class WitnessedTrainer(Trainer[Any]):
    """Passes runs on and keeps what it sees."""

    def __init__(
        self, judged: Trainer[Any], correct: Trainer[Any] | None, witness: Witness
    ) -> None:
        self._judged, self._correct, self._witness = judged, correct, witness

    @property
    def model(self) -> Model[Any]:  # type: ignore[override]
        """The judged one's."""
        return self._judged.model

    def run(
        self, steps: int, batches: Int[np.ndarray, "T *#R N"] | None = None, every: int = 1
    ) -> Record:
        """Pass it on."""
        found: Record = self._compared(lambda trainer: trainer.run(steps, batches, every))
        return found

    def parameters(self) -> list[Float[np.ndarray, "*R ..."]]:
        """Pass it on."""
        found: list[Host] = self._compared(lambda trainer: trainer.parameters())
        return found

    def keep(self, replicas: Sequence[int]) -> None:
        """Pass it on."""
        self._compared(lambda trainer: trainer.keep(replicas))

    def _compared(self, ask: Callable[[Trainer[Any]], Any]) -> Any:
        testimony = self._witness.testimony
        if self._correct is None or testimony.differs:
            return ask(self._judged)
        expected = ask(self._correct)
        with _failing(testimony):
            found = ask(self._judged)
        testimony.differs = not self._witness.same(found, expected)
        return found


def _plain(value: Any) -> Any:
    """Return Python's own number for one of NumPy's."""
    return value.item() if isinstance(value, np.generic) else value


@contextmanager
def _failing(testimony: Testimony) -> Iterator[None]:
    """An exception where the correct backend raised none is a difference."""
    try:
        yield
    except Exception:
        testimony.differs = True
        raise
