"""Faults as rows of tables: a name, the mistake in a sentence, and what makes it.

A table binds once what its rows share: the part of the contract, the methods whose answers are
wrong, and what has to be in use. :func:`faults` makes faulty models of its rows,
:func:`building_faults` faulty backends, and :func:`trainer_faults` faulty trainers.

A row is named by its keyword, and is the sentence and a function, such as a lambda; or a function
alone, whose docstring is the sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from pcbench.audit.trainer import FaultyTrainer
from pcbench.audit.traits import settings_uses
from pcbench.audit.wrappers import QUESTIONS, FaultyBackend, FaultyModel, Host, bound
from pcbench.contract import Capability, Hessian, Inference, Model, Trainer, TrainingSettings
from pcbench.contract.parts import Part
from pcbench.networks import NetworkSpec

Vectors = Float[np.ndarray, "*R K P"]
Product = Callable[[Vectors], Float[np.ndarray, "*R K _"]]
Table = Callable[..., list[type[Any]]]


class Question:
    """A question on its way to the correct model, as a row sees it: on the host.

    The ``model`` is asked by this ``method`` of the contract, with the arguments ``given`` on the
    device. On the host they are attributes, by their names in the contract (``x``, ``y``,
    ``activities``, ``precision``, ``settings``, …).
    """

    def __init__(self, model: FaultyModel, method: str, given: Mapping[str, Any]) -> None:
        self.model, self.method, self.given = model, method, given
        self.network, self.replicated = model.network, model.replicated

    def __getattr__(self, name: str) -> Any:
        """Return an argument, on the host; an optional one that was not given is ``None``."""
        if name not in QUESTIONS[self.method]:
            raise AttributeError(f"{self.method} has no argument {name!r}")
        value = self.given.get(name)
        return _moved(value, self.model.host) if name in _ARRAYS else value

    @property
    def samples(self) -> int:
        """The size of the batch."""
        first = self.activities[0] if "activities" in self.given else self.x
        return int(first.shape[-2])

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the weights, then of the biases."""
        return [*self.network.shapes, *self.network.bias_shapes]

    @property
    def weighted(self) -> bool:
        """Whether there is a precision."""
        return self.given.get("precision") is not None

    @property
    def plain(self) -> bool:
        """Whether there are neither replicas nor a precision."""
        return not self.replicated and not self.weighted

    def ask(self, **changed: Any) -> Any:
        """Return the correct answer to this question, or with other arguments; on the host."""
        return self._answer(self.method, {**self.given, **self._staged(changed)})

    def adjusted(self, **changed: Any) -> Any:
        """Return the correct answer with these settings changed."""
        asked = self.settings
        if isinstance(asked, TrainingSettings):
            return self.ask(settings=replace(asked, **changed))
        return self.ask(settings=asked.model_copy(update=changed))

    def also(self, method: str, **arguments: Any) -> Any:
        """Return the correct answer to another question; all arguments are on the host."""
        return self._answer(method, self._staged(arguments))

    def multiplied(self, mistake: Callable[[Product, Vectors], Any]) -> Hessian[Any]:
        """Return the Hessian with its products made anew of the correct ones, on the host."""
        return _Multiplied(self.model, self.ask(), mistake)

    def _staged(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        device = self.model.device
        return {
            name: _moved(value, device) if name in _ARRAYS else value
            for name, value in arguments.items()
        }

    def _answer(self, method: str, given: dict[str, Any]) -> Any:
        return _moved(self.model.ask(method, given), self.model.host)


@dataclass(slots=True, eq=False)
class _Multiplied(Hessian[Any]):
    model: FaultyModel
    correct: Hessian[Any]
    mistake: Callable[[Product, Vectors], Any]

    @property
    def residual(self) -> float:  # type: ignore[override]
        return self.correct.residual

    def product(self, vectors: Any) -> Any:
        model = self.model

        def correct(host: Vectors) -> Float[np.ndarray, "*R K _"]:
            return model.host(self.correct.product(model.device(host)))

        return model.device(self.mistake(correct, model.host(vectors)))


def faults(
    part: Part,
    *methods: str,
    needs: Iterable[str] = (),
    when: Callable[[Question], bool] = lambda q: True,
) -> Table:
    """Begin a table of faulty models: call what is returned with its rows.

    The function of a row takes the :class:`Question` and returns the wrong answer, on the host.

    Parameters
    ----------
    part
        What of the contract the mistakes corrupt.
    methods
        Those that are answered wrongly.
    needs
        Capabilities and traits that must be in use for the mistakes to be made at all. Where it
        names replicas, a precision or an engine, questions without are answered correctly.
    when
        Whether a question is answered wrongly; every one if not given.
    """
    needed = frozenset(needs)
    engines = {need for need in needed if need.endswith("_inference")}

    def applies(q: Question) -> bool:
        given: dict[str, bool] = {
            Capability.REPLICAS: q.replicated,
            Capability.PRECISION: q.weighted,
        }
        asked = q.given.get("settings")
        by_engine = not engines or asked is None or bool(engines & settings_uses(asked))
        return by_engine and all(given.get(need, True) for need in needed) and when(q)

    def overriding(method: str, wrong: Callable[[Question], Any]) -> Callable[..., Any]:
        def answer(model: FaultyModel, *arguments: Any, **named: Any) -> Any:
            question = Question(model, method, bound(method, arguments, named))
            if applies(question):
                return _moved(wrong(question), model.device)
            return model.ask(method, question.given)

        return answer

    return _table(FaultyModel, part, methods, needed, overriding)


def building_faults(part: Part, needs: Iterable[str] = ()) -> Table:
    """Begin a table of backends that build another model than they are asked for.

    The function of a row takes a network and its parameters, weights and then biases, and returns
    those that are built. ``part`` and ``needs`` are those of :func:`faults`.
    """

    def overriding(_: str, wrong: Callable[..., tuple[NetworkSpec, Iterable[Host]]]) -> Any:
        def build(backend: FaultyBackend, network: NetworkSpec, parameters: Any) -> Model[Any]:
            other, changed = wrong(network, list(parameters))
            return FaultyBackend.build(backend, other, list(changed))

        return build

    return _table(FaultyBackend, part, ["build"], needs, overriding)


def trainer_faults(part: Part, *methods: str, needs: Iterable[str] = ()) -> Table:
    """Begin a table of faulty trainers.

    The function of a row is what the ``methods`` of :class:`FaultyTrainer` do instead. It takes the
    trainer, its correct method, and the arguments. ``part`` and ``needs`` are those of
    :func:`faults`.
    """

    def overriding(method: str, wrong: Callable[..., Any]) -> Callable[..., Any]:
        def done(trainer: FaultyTrainer, *arguments: Any, **named: Any) -> Any:
            correct = partial(getattr(FaultyTrainer, method), trainer)
            return wrong(trainer, correct, *arguments, **named)

        return done

    return _table(FaultyTrainer, part, methods, needs, overriding)


def _table(
    base: Any,
    part: Part,
    methods: Iterable[str],
    needs: Iterable[str],
    overriding: Callable[[str, Any], Callable[..., Any]],
) -> Table:
    """Return what makes a class of every row."""

    def made(**rows: tuple[str, Callable[..., Any]] | Callable[..., Any]) -> list[type[Any]]:
        classes = []
        for name, row in rows.items():
            mistake, wrong = row if isinstance(row, tuple) else (row.__doc__, row)
            said = {"__doc__": mistake, "part": part, "needs": frozenset(needs)}
            changed = {method: overriding(method, wrong) for method in methods}
            classes.append(type(name, (base,), said | changed))
        return classes

    return made


_ARRAYS = frozenset({"x", "y", "precision", "activities"})
_OF_INFERENCE = ("activities", "energies", "residual", "sample_residuals", "path")


def _moved(value: Any, move: Callable[[Any], Any]) -> Any:
    """Move an answer or an argument, to the host or to the device; what is no array stays."""
    if value is None or isinstance(value, Hessian | Trainer):
        return value
    if isinstance(value, Inference):
        arrays = {name: _moved(getattr(value, name), move) for name in _OF_INFERENCE}
        return replace(value, **arrays)
    if isinstance(value, list | tuple):
        return [_moved(each, move) for each in value]
    return move(value)
