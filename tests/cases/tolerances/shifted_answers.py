"""A backend of which one answer is wrong by an amount, and by how much it must be to be noticed."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from pcbench.audit import FaultyBackend, FaultyModel
from pcbench.case import CaseSkippedError
from pcbench.checks import Check
from pcbench.contract import Hessian, Trainer, engines
from pcbench.data import Places
from pcbench.runner import Observer
from pcbench.runner.context import RunContext


@dataclass(frozen=True)
class Shift:
    """Which answer is wrong, how, and by how much.

    Attributes
    ----------
    answer
        What is asked for: a method of the model, ``infer.`` or ``run.`` and a field of its answer,
        ``rate``, the learning rate that a trainer steps by, or ``asked.`` and a setting of
        inference. Of the backend: ``to_host``, what any array is brought as; ``describe``, the
        device that it names; and ``build``, the parameters on the host, which it writes into.
    how
        ``scale`` makes all of it larger by the share ``by``; ``tilt`` likewise, the first by
        nothing, the last by all of it, and those between by powers; ``first`` and ``last`` add
        ``by`` to that entry (of a Hessian, on its diagonal) of the last array, where there are
        several; ``corner`` adds it to the first row and last column of a Hessian; ``shape`` adds
        an axis; ``drop`` leaves the last array out; ``flip`` is for what is true or false;
        ``finite`` puts 0 for what is not finite, or refused; ``lost`` NaN for the first entry;
        ``coarse`` rounds to float32.
    after
        How many calls are answered as they should be.
    by
        By how much.
    calls
        How many calls after these are answered wrongly; 0 for all.
    """

    answer: str
    how: str = "first"
    after: int = 0
    by: float = 0.0
    calls: int = 0

    def __call__(self, array):
        if self.how == "flip":
            return not array
        array = np.array(array, np.float64)
        if self.how == "finite":
            return np.nan_to_num(array, posinf=0.0, neginf=0.0)
        if self.how == "coarse":
            return array.astype(np.float32).astype(np.float64)
        if self.how == "lost":
            array.reshape(-1)[0] = np.nan
            return array
        if self.how == "shape":
            return array[..., None]
        if self.how == "scale":
            return array * (1 + self.by)
        if self.how == "tilt":
            return array * (1 + self.by) ** np.linspace(0, 1, array.size).reshape(array.shape)
        array.reshape(-1)[0 if self.how == "first" else -1] += self.by
        return array


NOTHING = Shift("nothing")


class _Asked:
    """What models, Hessians and trainers have in common: they shift what is asked for."""

    def meant(self, answer):
        """Count the calls, and say whether this one is to be answered wrongly."""
        calls = self.memory.setdefault("calls", Counter())
        calls[answer] += 1
        shift, number = self.shift, calls[answer] - self.shift.after
        return answer == shift.answer and 0 < number <= (shift.calls or number)

    def wrong(self, answer, value, *, device=True):
        """Return an answer, shifted if it is the one."""
        if value is None or not self.meant(answer):
            return value
        if self.shift.how == "drop":
            return value[:-1]
        if isinstance(value, list | tuple):
            return [*value[:-1], self._shifted(value[-1], device)]
        return self._shifted(value, device)

    def _shifted(self, value, device):
        if not device:
            return self.shift(value)
        return self.backend.to_device(self.shift(self.backend.to_host(value)))


class ShiftedHessian(_Asked, Hessian):
    def __init__(self, honest, answer, model):
        self.honest, self.answer = honest, answer
        self.shift, self.memory, self.backend = model.shift, model.memory, model.backend

    @property
    def residual(self):
        return self.wrong(f"{self.answer}.residual", self.honest.residual, device=False)

    def product(self, vectors):
        """Multiply; unless all is scaled, by a matrix that has one entry more."""
        found, shift = self.honest.product(vectors), self.shift
        if not self.meant(self.answer):
            return found
        found, vectors = (np.array(self.backend.to_host(a)) for a in (found, vectors))
        if shift.how in ("scale", "shape"):
            return self.backend.to_device(shift(found))
        row, column = {"first": (0, 0), "last": (-1, -1), "corner": (0, -1)}[shift.how]
        found[..., row] += shift.by * vectors[..., column]
        return self.backend.to_device(found)


class ShiftedTrainer(_Asked, Trainer):
    def __init__(self, honest, model):
        self.honest, self.origin = honest, model
        self.shift, self.memory, self.backend = model.shift, model.memory, model.backend

    @property
    def model(self):
        return self.origin.around(self.honest.model, self.honest.parameters())

    def run(self, *asked, **named):
        record = self.honest.run(*asked, **named)
        fields = ("losses", "energies", "gradient_norms", "parameter_norms")
        return replace(
            record,
            **{
                name: self.wrong(f"run.{name}", getattr(record, name), device=False)
                for name in (*fields, "recorded", "inference_steps", "residuals")
            },
        )

    def parameters(self):
        return self.wrong("run.parameters", self.honest.parameters(), device=False)

    def keep(self, replicas):
        self.honest.keep(replicas)


class ShiftedModel(_Asked, FaultyModel):
    """Correct but for one answer."""

    def around(self, inner, parameters):
        model = ShiftedModel(inner, self.backend, self.network, parameters, self.memory)
        model.shift = self.shift
        return model

    def infer(self, x, y, settings, precision=None):
        name = self.shift.answer.removeprefix("asked.")
        if hasattr(settings, name) and self.meant(f"asked.{name}"):
            settings = settings.model_copy(update={name: getattr(settings, name) + self.shift.by})
        reached = super().infer(x, y, settings, precision)
        activities = list(reached.activities)
        if len(activities) > 2:
            activities[1:-1] = self.wrong("infer.activities", activities[1:-1])
        activities[0] = self.wrong("infer.input", activities[0])
        activities[-1] = self.wrong("infer.output", activities[-1])
        told = {
            name: self.wrong(f"infer.{name}", getattr(reached, name))
            for name in ("energies", "residual", "sample_residuals", "path")
        }
        counts = {
            name: self.wrong(f"infer.{name}", getattr(reached, name), device=False)
            for name in ("steps", "passes", "converged")
        }
        return replace(reached, activities=activities, **told, **counts)

    def loss_hessian(self, *asked, **named):
        return ShiftedHessian(super().loss_hessian(*asked, **named), "loss_hessian", self)

    def energy_hessian(self, *asked, **named):
        return ShiftedHessian(super().energy_hessian(*asked, **named), "energy_hessian", self)

    def unrolled_hessian(self, *asked, **named):
        return ShiftedHessian(super().unrolled_hessian(*asked, **named), "unrolled_hessian", self)

    def trainer(self, x, y, settings, precision=None):
        rates = settings.learning_rate
        if self.shift.how in ("tilt", "first") and self.replicated:
            rates = np.full(len(self.parameters[0]), rates) if np.ndim(rates) == 0 else rates
        asked = replace(settings, learning_rate=self.wrong("rate", rates, device=False))
        return ShiftedTrainer(super().trainer(x, y, asked, precision), self)


def _passed_on(name):
    def method(self, *asked, **named):
        try:
            answer = getattr(FaultyModel, name)(self, *asked, **named)
        except ValueError:
            if self.shift.answer != name or self.shift.how != "finite":
                raise
            answer = self.device(np.zeros(()))
        return self.wrong(name, answer)

    return method


for _name in ("predict", "loss", "loss_gradients", "energies", "energy_gradients"):
    setattr(ShiftedModel, _name, _passed_on(_name))


class ShiftedBackend(_Asked, FaultyBackend):
    """A correct backend but for one answer, with some of its engines of inference."""

    shift = NOTHING
    engines = None

    @property
    def backend(self):
        return self.inner

    @property
    def capabilities(self):
        """Return the correct backend's, without the engines that are not to be asked."""
        others = {
            settings.capability
            for name, settings in engines()
            if self.engines is not None and name not in self.engines
        }
        return self.inner.capabilities - others

    def build(self, network, parameters):
        inner = self.inner.build(network, parameters)
        if self.meant("build"):
            parameters[0].reshape(-1)[0] += self.shift.by
        model = ShiftedModel(inner, self.inner, network, parameters, self.memory)
        model.shift = self.shift
        return model

    def to_host(self, array):
        return self.wrong("to_host", super().to_host(array), device=False)

    def describe(self):
        described = super().describe()
        return described | {"device": "elsewhere"} if self.meant("describe") else described


def checks_of(case, backend, shift=NOTHING, engines=None):
    """Run a case with an answer shifted, untimed; return its checks by name."""
    shifted = ShiftedBackend(backend)
    shifted.shift, shifted.engines = shift, engines
    context = RunContext(case, shifted, Places.default(), Observer(), timed=False)
    made = {}
    with contextlib.suppress(CaseSkippedError):
        for found in case.case(case.parameters).run(context):
            if isinstance(found, Check):
                made[found.name] = found
    return made
