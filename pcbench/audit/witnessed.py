"""Models, Hessians and trainers that pass questions on and keep what they see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pcbench.audit.testimony import Testimony, same
from pcbench.audit.traits import Trait, inference_uses, training_uses
from pcbench.audit.wrappers import FaultyModel, Host, given
from pcbench.contract import (
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


class WitnessedModel(FaultyModel):
    """Passes questions on to a model and keeps what it sees."""

    def __init__(
        self,
        judged: FaultyModel,
        correct: Model[Any] | None,
        testimony: Testimony,
        uses: frozenset[str],
        knowing: Backend[Any] | None = None,
    ) -> None:
        super().__init__(
            judged.inner, judged.backend, judged.network, judged.parameters, judged.memory
        )
        self._correct, self._testimony, self._uses = correct, testimony, uses
        self._knowing, self._asked_for = knowing, set[str]()

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
            self._testimony.note("infer", self._takes(rest, unfinished))
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
        lent = [x, y, *rest.values()]
        before = [np.array(self.host(each)) for each in lent]
        judged, correct = self._both(
            lambda model: self._built(model).trainer(model, x, y, settings, **rest)
        )
        after = [np.array(self.host(each)) for each in lent]
        self._testimony.differs |= not same(before, after, self.host)
        return WitnessedTrainer(judged, correct, self._testimony, self)

    def beside(self, judged: Model[Any], correct: Model[Any] | None) -> WitnessedModel:
        """Return another model of this network, such as the one that a trainer has come to."""
        passing = FaultyModel(judged, self.backend, self.network, self.parameters, self.memory)
        return WitnessedModel(passing, correct, self._testimony, self._uses, self._knowing)

    def _built(self, model: Model[Any]) -> Backend[Any]:
        """Return the backend that one of the two models is of."""
        if model is self._correct and self._knowing is not None:
            return self._knowing
        return self.backend

    def _takes(self, rest: dict[str, Any], more: Iterable[str]) -> frozenset[str]:
        masked = {Capability.PRECISION} if "precision" in rest else set()
        return self._uses.union(more, masked)

    def _note(self, method: str, rest: dict[str, Any], more: Iterable[str] = ()) -> None:
        again = {Trait.ASKED_AGAIN} if method in self._asked_for else set()
        self._asked_for.add(method)
        self._testimony.note(method, self._takes(rest, again.union(more)))

    def _asked(
        self,
        method: str,
        inputs: list[Any],
        ask: Callable[[Model[Any]], Any],
        rest: dict[str, Any] | None = None,
        more: Iterable[str] = (),
    ) -> Any:
        samples = self.host(inputs[0]).shape[-2]
        other = {Trait.OTHER_BATCH} if self._testimony.of_another_size(samples) else set()
        self._note(method, rest or {}, other.union(more))
        testimony, host = self._testimony, self.host
        if self._correct is None or testimony.differs:
            return ask(self.inner)
        lent = [*inputs, *(rest or {}).values()]
        before = [np.array(host(each)) for each in lent]
        found, expected = _both_answers(testimony, ask, self.inner, self._correct)
        after = [np.array(host(each)) for each in lent]
        testimony.differs |= not (same(found, expected, host) and same(before, after, host))
        return found

    def _hessian(
        self,
        method: str,
        make: Callable[[Model[Any]], Hessian[Any]],
        rest: dict[str, Any],
        uses: Capability = Capability.HESSIAN,
    ) -> Hessian[Any]:
        self._note(method, rest, {uses})
        return WitnessedHessian(*self._both(make), self._testimony, self.host)

    def _both(self, make: Callable[[Model[Any]], Any]) -> tuple[Any, Any]:
        testimony = self._testimony
        if self._correct is None or testimony.differs:
            return make(self.inner), None
        return _both_answers(testimony, make, self.inner, self._correct)


class WitnessedHessian(Hessian[Any]):
    """Passes products on and keeps what it sees."""

    def __init__(
        self,
        judged: Hessian[Any],
        correct: Hessian[Any] | None,
        testimony: Testimony,
        host: Callable[[Any], Host],
    ) -> None:
        self._judged, self._correct = judged, correct
        self._testimony, self._host = testimony, host

    @property
    def residual(self) -> float:  # type: ignore[override]
        """The judged one's."""
        return self._judged.residual

    def product(self, vectors: Any) -> Any:
        """Pass it on."""
        testimony = self._testimony
        if self._correct is None or testimony.differs:
            return self._judged.product(vectors)
        found, expected = _both_answers(
            testimony, lambda hessian: hessian.product(vectors), self._judged, self._correct
        )
        testimony.differs |= (
            not same(found, expected, self._host) or self._judged.residual != self._correct.residual
        )
        return found


class WitnessedTrainer(Trainer[Any]):
    """Passes runs on and keeps what it sees."""

    def __init__(
        self,
        judged: Trainer[Any],
        correct: Trainer[Any] | None,
        testimony: Testimony,
        begun: WitnessedModel,
    ) -> None:
        self._judged, self._correct = judged, correct
        self._testimony, self._begun = testimony, begun

    @property
    def model(self) -> Model[Any]:  # type: ignore[override]
        """The judged one's, watched as well."""
        known = None if self._testimony.differs else self._correct
        return self._begun.beside(self._judged.model, known.model if known else None)

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
        testimony = self._testimony
        if self._correct is None or testimony.differs:
            return ask(self._judged)
        found, expected = _both_answers(testimony, ask, self._judged, self._correct)
        testimony.differs |= not same(found, expected, self._begun.host)
        return found


def _both_answers(
    testimony: Testimony, ask: Callable[[Any], Any], judged: Any, correct: Any
) -> tuple[Any, Any]:
    """Return the answers of the judged one and of the correct one.

    The correct one is asked first: a mistake may be to write into what it was given. If it refuses,
    and the judged one does not, they differ; if both refuse, they are alike.
    """
    try:
        expected = ask(correct)
    except Exception:  # however a backend refuses
        found = ask(judged)
        testimony.differs = True
        return found, found
    with testimony.failing():
        return ask(judged), expected
