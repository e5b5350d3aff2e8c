"""What a case asks of a backend, and whether a mistake changed any answer.

A fault that changes no answer is no test of a suite: a derivative that is forgotten makes no
difference where all activations are the identity. So until the first difference a witness asks
the correct backend the same question and compares, number for number; after it, nothing is
compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pcbench.audit.testimony import Testimony, same
from pcbench.audit.traits import Trait, inference_uses, network_uses, training_uses
from pcbench.audit.wrappers import QUESTIONS, FaultyBackend, FaultyModel, Host, given
from pcbench.contract import Backend, Capability, Hessian, Model, Record, Trainer
from pcbench.networks import NetworkSpec

_LENT = ("x", "y", "precision")
_HESSIANS = {
    "loss_hessian": Capability.HESSIAN,
    "energy_hessian": Capability.HESSIAN,
    "unrolled_hessian": Capability.UNROLLED_HESSIAN,
}


class Witness(FaultyBackend):
    """Passes questions on to a backend and keeps what it sees.

    Parameters
    ----------
    judged
        The backend whose answers count.
    correct
        The correct backend; ``None`` where nothing is to be compared.
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
        self.correct, self.testimony = correct, Testimony(deadline)

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Build the model that is judged, and the correct one."""
        uses = network_uses(network, parameters)
        self.testimony.note("build", uses)
        correct = None
        if self.correct is not None and not self.testimony.differs:
            correct = self.correct.build(network, parameters)
        judged = FaultyBackend(self.inner).model(network, parameters)
        return WitnessedModel(judged, correct, self.testimony, uses, self.correct)

    def to_device(self, array: Host) -> Any:
        """Stage an array."""
        return self._compared("to_device", lambda backend: backend.to_device(array))

    def to_host(self, array: Any) -> Host:
        """Bring an array to the host."""
        found: Host = self._compared("to_host", lambda backend: backend.to_host(array))
        return found

    def _compared(self, method: str, ask: Callable[[Backend[Any]], Any]) -> Any:
        self.testimony.note(method, frozenset())
        found = ask(self.inner)
        if self.correct is not None and not self.testimony.differs:
            self.testimony.differs = not same(found, ask(self.correct), self.inner.to_host)
        return found


class WitnessedModel(FaultyModel):
    """Passes questions on to a model and keeps what it sees."""

    def __init__(
        self,
        judged: FaultyModel,
        correct: Model[Any] | None,
        testimony: Testimony,
        uses: frozenset[str],
        knowing: Backend[Any] | None,
    ) -> None:
        super().__init__(
            judged.inner, judged.backend, judged.network, judged.parameters, judged.memory
        )
        self._correct, self._testimony, self._uses = correct, testimony, uses
        self._knowing, self._asked_for = knowing, set[str]()

    def ask(self, method: str, *required: Any, **optional: Any) -> Any:
        """Pass a question on, to the correct model as well, and compare."""
        rest, testimony, host = given(**optional), self._testimony, self.host
        named = dict(zip(QUESTIONS[method], required, strict=False)) | rest
        lent = [*named.get("activities", ()), *(named[n] for n in _LENT if n in named)]
        uses = self._uses_of(method, named, lent[0])
        testimony.note(method, uses)

        def put(model: Model[Any]) -> Any:
            if method == "trainer":
                return self._built(model).trainer(model, *required, **rest)
            answer = getattr(model, method)(*required, **rest)
            return list(answer) if method.endswith("gradients") else answer

        comparing = self._correct is not None and not testimony.differs
        if method in _HESSIANS:
            return WitnessedHessian(*self._both(put), testimony, host)
        before = [np.array(host(each)) for each in lent] if comparing else []
        judged, correct = self._both(put)
        if comparing:
            after = [np.array(host(each)) for each in lent]
            testimony.differs |= not same(before, after, host)
        if method == "trainer":
            return WitnessedTrainer(judged, correct, testimony, self)
        if comparing:
            testimony.differs |= not same(judged, correct, host)
        if method == "infer" and not judged.converged:
            settled = {Trait.ASKED_AGAIN, Trait.OTHER_BATCH}
            testimony.note("infer", (uses - settled) | {Trait.UNFINISHED})
        return judged

    def beside(self, judged: Model[Any], correct: Model[Any] | None) -> WitnessedModel:
        """Return another model of this network, such as the one that a trainer has come to."""
        passing = FaultyModel(judged, self.backend, self.network, self.parameters, self.memory)
        return WitnessedModel(passing, correct, self._testimony, self._uses, self._knowing)

    def _built(self, model: Model[Any]) -> Backend[Any]:
        """Return the backend that one of the two models is of."""
        if model is self._correct and self._knowing is not None:
            return self._knowing
        return self.backend

    def _uses_of(self, method: str, named: dict[str, Any], first: Any) -> frozenset[str]:
        """Return what an answer takes."""
        uses = set(self._uses)
        if method in self._asked_for:
            uses.add(Trait.ASKED_AGAIN)
        self._asked_for.add(method)
        if "precision" in named:
            uses.add(Capability.PRECISION)
        if method in _HESSIANS:
            uses.add(_HESSIANS[method])
        elif method == "trainer":
            uses |= training_uses(named["settings"])
        elif self._testimony.of_another_size(self.host(first).shape[-2]):
            uses.add(Trait.OTHER_BATCH)
        if method == "infer":
            uses |= inference_uses(named["settings"])
        return frozenset(uses)

    def _both(self, put: Callable[[Model[Any]], Any]) -> tuple[Any, Any]:
        if self._correct is None or self._testimony.differs:
            return put(self.inner), None
        return _both_answers(self._testimony, put, self.inner, self._correct)


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
