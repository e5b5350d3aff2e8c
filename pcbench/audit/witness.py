"""What a case asks of a backend, and whether a mistake changed any answer.

A fault that changes no answer is no test of a suite: a derivative that is forgotten makes no
difference where all activations are the identity. So until the first difference a witness asks
the correct backend the same question and compares, number for number; after it, nothing is
compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from pcbench.audit.traits import Trait, inference_uses, network_uses, training_uses
from pcbench.audit.wrappers import FaultyBackend, FaultyModel, Host, put_question
from pcbench.contract import Backend, Capability, Hessian, Model, Record, Trainer
from pcbench.networks import NetworkSpec

_LENT = ("x", "y", "precision")
_HESSIANS = {
    "loss_hessian": Capability.HESSIAN,
    "energy_hessian": Capability.HESSIAN,
    "unrolled_hessian": Capability.UNROLLED_HESSIAN,
}


class Occasion(NamedTuple):
    """A sort of question: the method of the contract, and the capabilities and traits it takes."""

    method: str
    uses: frozenset[str]


class OutOfTime(BaseException):
    """A case takes too long under a fault."""


@dataclass(slots=True)
class Testimony:
    """What was seen.

    Attributes
    ----------
    deadline
        When no further question is taken, in seconds of :func:`time.monotonic`.
    occasions
        The sorts of questions asked.
    differs
        Whether some answer was not that of the correct backend.
    """

    deadline: float = math.inf
    occasions: set[Occasion] = field(default_factory=set)
    differs: bool = False
    _first_batch: int | None = None

    def note(self, method: str, uses: frozenset[str]) -> None:
        """Keep what is asked.

        Raises
        ------
        OutOfTime
            After the deadline.
        """
        self.occasions.add(Occasion(method, uses))
        if time.monotonic() > self.deadline:
            raise OutOfTime

    def of_another_size(self, samples: int) -> bool:
        """Whether a batch is not of the size of the first one."""
        self._first_batch = self._first_batch or samples
        return samples != self._first_batch

    def both(self, ask: Callable[[Any], Any], judged: Any, correct: Any) -> tuple[Any, Any]:
        """Return the answers of the tested model and, until they differ once, of the correct one.

        The correct one is asked first: a mistake may be to write into what it was given. If one of
        them refuses, and the other does not, they differ; if both refuse, they are alike.
        """
        if correct is None or self.differs:
            return ask(judged), None
        try:
            expected = ask(correct)
        except Exception:  # however a backend refuses
            found = ask(judged)
            self.differs = True
            return found, None
        try:
            return ask(judged), expected
        except Exception:
            self.differs = True
            raise

    def compared(
        self, ask: Callable[[Any], Any], judged: Any, correct: Any, to_host: Callable[[Any], Host]
    ) -> Any:
        """Return the answer of the tested model, and keep whether it is another than is correct."""
        found, expected = self.both(ask, judged, correct)
        if correct is not None and not self.differs:
            self.differs = not same(found, expected, to_host)
        return found


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
        """Build the model that is tested, and the correct one."""
        uses = network_uses(network, parameters)
        self.testimony.note("build", uses)
        correct = None
        if self.correct is not None and not self.testimony.differs:
            correct = self.correct.build(network, parameters)
        judged = FaultyBackend(self.inner).build(network, parameters)
        return _Model(judged, correct, self.testimony, uses, self.correct)

    def to_device(self, array: Host) -> Any:
        """Stage an array."""
        return self._compared("to_device", array)

    def to_host(self, array: Any) -> Host:
        """Bring an array to the host."""
        found: Host = self._compared("to_host", array)
        return found

    def _compared(self, method: str, array: Any) -> Any:
        self.testimony.note(method, frozenset())

        def ask(backend: Backend[Any]) -> Any:
            return getattr(backend, method)(array)

        return self.testimony.compared(ask, self.inner, self.correct, self.inner.to_host)


class _Model(FaultyModel):
    def __init__(
        self,
        judged: Any,
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

    def ask(self, method: str, arguments: Mapping[str, Any]) -> Any:
        """Pass a question on, to the correct model as well, and compare."""
        named = {name: value for name, value in arguments.items() if value is not None}
        testimony, host = self._testimony, self.host
        lent = [*named.get("activities", ()), *(named[n] for n in _LENT if n in named)]
        uses = self._uses_of(method, named, lent[0])
        testimony.note(method, uses)

        def put(model: Model[Any]) -> Any:
            knowing = self._knowing if model is self._correct else None
            answer = put_question(model, knowing or self.backend, method, named)
            return list(answer) if method.endswith("gradients") else answer

        comparing = self._correct is not None and not testimony.differs
        before = []
        if comparing and method not in _HESSIANS:
            before = [np.array(host(each)) for each in lent]
        judged, correct = testimony.both(put, self.inner, self._correct)
        if method in _HESSIANS:
            return _Hessian(judged, correct, testimony, host)
        if comparing:
            after = [np.array(host(each)) for each in lent]
            testimony.differs |= not same(before, after, host)
        if method == "trainer":
            return _Trainer(judged, correct, testimony, self)
        if comparing and not testimony.differs:
            testimony.differs = not same(judged, correct, host)
        if method == "infer" and not judged.converged:
            settled = {Trait.ASKED_AGAIN, Trait.OTHER_BATCH}
            testimony.note("infer", (uses - settled) | {Trait.UNFINISHED})
        return judged

    def beside(self, judged: Model[Any], correct: Model[Any] | None) -> Model[Any]:
        """Return another model of this network, such as the one that a trainer has come to."""
        passing = FaultyModel(judged, self.backend, self.network, self.parameters, self.memory)
        return _Model(passing, correct, self._testimony, self._uses, self._knowing)

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


class _Hessian(Hessian[Any]):
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

        def ask(hessian: Hessian[Any]) -> Any:
            return hessian.product(vectors), hessian.residual

        return self._testimony.compared(ask, self._judged, self._correct, self._host)[0]


class _Trainer(Trainer[Any]):
    def __init__(
        self,
        judged: Trainer[Any],
        correct: Trainer[Any] | None,
        testimony: Testimony,
        begun: _Model,
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
        return self._testimony.compared(ask, self._judged, self._correct, self._begun.host)


def same(one: Any, other: Any, to_host: Callable[[Any], Host]) -> bool:
    """Whether two answers are the same, number for number.

    Zero is zero, of either sign, and what is no number is the same as itself.

    Parameters
    ----------
    one, other
        Arrays of a backend or of NumPy, numbers, and sequences and dataclasses of such.
    to_host
        Brings the backend's arrays to the host.
    """
    one, other = _plain(one), _plain(other)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and np.array_equal(one, other, equal_nan=True)
    if is_dataclass(one) and type(one) is type(other):
        names = [each.name for each in fields(one)]
        return all(same(getattr(one, name), getattr(other, name), to_host) for name in names)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(
            same(a, b, to_host) for a, b in zip(one, other, strict=True)
        )
    if one is None or other is None or isinstance(one, bool | int | float | str):
        return type(one) is type(other) and (one == other or (one != one and other != other))
    return same(np.array(to_host(one)), np.array(to_host(other)), to_host)


def _plain(value: Any) -> Any:
    """Return Python's own number for one of NumPy's."""
    return value.item() if isinstance(value, np.generic) else value
