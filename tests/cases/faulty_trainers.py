"""Trainers with one deliberate mistake each, around one that is correct.

Every class is right but for its docstring.
"""

from dataclasses import replace

import numpy as np
from reference_trainer import ReferenceTrainer

FAULTS: dict[str, tuple[type[ReferenceTrainer], str]] = {}
"""The trainer, and the check that must fail."""


def fault(check):
    """Put a trainer into the catalogue, with the check that is there for its mistake."""

    def add(trainer):
        FAULTS[trainer.__name__] = (trainer, check)
        return trainer

    return add


@fault("parameters after a step")
class PreviousBatch(ReferenceTrainer):
    """Gradients are those of the batch before."""

    seen = None

    def slope(self, replica, rows):
        honest = super().slope(replica, rows)
        if replica == 0:
            self.previous, self.seen = self.seen, rows
        if self.previous is None:
            return honest
        stale = super().slope(replica, self.previous)
        return replace(honest, gradients=stale.gradients)


@fault("parameters after a step")
class FirstLayerLeftOut(ReferenceTrainer):
    """The first layer's weights are not updated."""

    left_out = 0

    def update(self, gradients):
        stays = self.theta[self.left_out].copy()
        super().update(gradients)
        self.theta[self.left_out] = stays


@fault("parameters after a step")
class LastLayerLeftOut(FirstLayerLeftOut):
    """The last layer's weights are not updated."""

    left_out = -1


@fault("parameters after a step")
class SumForMean(ReferenceTrainer):
    """The gradient that is followed is summed over the batch, the one recorded is not."""

    def slope(self, replica, rows):
        self.samples = len(self.batch(replica, rows)[0])
        return super().slope(replica, rows)

    def scaled(self, gradients):
        return [self.samples * gradient for gradient in super().scaled(gradients)]


@fault("parameters after a step")
class ForgottenScale(ReferenceTrainer):
    """The scale is not applied."""

    def scaled(self, gradients):
        return gradients


@fault("parameters after a step")
class SwappedRates(ReferenceTrainer):
    """Learning rates are handed to the replicas in reverse."""

    def begin(self, replicas):
        super().begin(replicas)
        self.rates = self.rates[::-1].copy()


@fault("parameters after a step")
class SharedMoments(ReferenceTrainer):
    """Replicas share Adam's second moment."""

    def shared(self, square):
        return np.broadcast_to(square.mean(axis=0), square.shape)


@fault("parameters after a step")
class NoBiasCorrection(ReferenceTrainer):
    """Adam's moments are taken as they are."""

    def moved(self, rule, mean, square):
        return mean / (np.sqrt(square) + rule.epsilon)


@fault("parameters after a step")
class StaleCount(ReferenceTrainer):
    """Adam counts its steps once too often."""

    def update(self, gradients):
        self.count = self.count or 1
        super().update(gradients)


@fault("gradient norms")
class StaleActivities(ReferenceTrainer):
    """Weights learn from the activities of the step before."""

    def begin(self, replicas):
        super().begin(replicas)
        self.kept = {}

    def activities(self, replica, reached):
        own = self.alive[replica]
        stale, self.kept[own] = self.kept.get(own, reached), reached
        return stale


@fault("parameters of replicas kept")
class KeepsInOrder(ReferenceTrainer):
    """Replicas are kept in the order that they had, whatever was asked for."""

    def keep(self, replicas):
        super().keep(sorted(replicas))


@fault("parameters of replicas kept")
class KeepsTheFirst(ReferenceTrainer):
    """As many replicas are kept as asked for, but the first ones."""

    def keep(self, replicas):
        super().keep(range(len(replicas)))


@fault("parameters after a step")
class KeepMixesMoments(ReferenceTrainer):
    """Replicas go on with the moments of others."""

    def keep(self, replicas):
        means, squares = ([a[: len(replicas)] for a in m] for m in (self.means, self.squares))
        super().keep(replicas)
        self.means, self.squares = means, squares


@fault("parameters after a step")
class KeepMixesRates(ReferenceTrainer):
    """Replicas go on with the learning rates of others."""

    def keep(self, replicas):
        rates = self.rates[: len(replicas)]
        super().keep(replicas)
        self.rates = rates


@fault("loss of a step")
class LossAfter(ReferenceTrainer):
    """The loss recorded is that after the update."""

    def values(self, slopes, rows):
        after = [self.slope(replica, rows).loss for replica in range(len(slopes))]
        return after, [slope.energy for slope in slopes]


@fault("energy of a step")
class EnergyAfter(ReferenceTrainer):
    """The energy recorded is that after the update."""

    def values(self, slopes, rows):
        after = [self.slope(replica, rows).energy for replica in range(len(slopes))]
        return [slope.loss for slope in slopes], after


@fault("gradient norms")
class ScaledNorms(ReferenceTrainer):
    """The gradient norms recorded are those after scaling."""

    def details(self, slopes, before):
        norms, *others = super().details(slopes, before)
        return [[self.settings.scale * n for n in row] for row in norms], *others


@fault("gradient norms")
class NormsOfNeighbours(ReferenceTrainer):
    """Replicas are recorded with each other's gradient norms."""

    def details(self, slopes, before):
        norms, *others = super().details(slopes, before)
        return norms[::-1], *others


@fault("parameter norms")
class NormsAfter(ReferenceTrainer):
    """The parameter norms recorded are those after the update."""

    def details(self, slopes, before):
        return super().details(slopes, self.theta)


@fault("model that training began with")
class MovesItsModel(ReferenceTrainer):
    """Training writes into the model that it came from."""

    def run(self, steps, batches=None, every=1):
        record = super().run(steps, batches, every)
        if len(self.theta[0]) == len(self.original.parameters[0]):
            for there, here in zip(self.original.parameters, self.parameters(), strict=True):
                there.copy_(self.backend.to_device(here))
        return record


@fault("parameters brought to the host")
class LivesOnTheHost(ReferenceTrainer):
    """What is brought to the host goes on learning there."""

    given = ()

    def parameters(self):
        self.given = super().parameters()
        return self.given

    def update(self, gradients):
        super().update(gradients)
        for there, here in zip(self.given, self.theta, strict=False):
            if there.shape == here.shape:
                there[:] = here


@fault("parameters at the start")
class StartsElsewhere(ReferenceTrainer):
    """Training begins beside the model's parameters."""

    def begin(self, replicas):
        super().begin(replicas)
        self.theta[0] = self.theta[0] * self.theta[0].dtype.type(1.001)


@fault("loss of the model that training left")
class LeavesTheModel(ReferenceTrainer):
    """The trainer's model stays where training began."""

    @property
    def model(self):
        return self.backend.plain(self.network, self._brought(self.original))


@fault("steps taken in one run")
class OneBatchARun(ReferenceTrainer):
    """A run sees its first batch at every step."""

    def chosen(self, batches, step):
        return super().chosen(batches, 0)


@fault("steps recorded in one run")
class RecordsEveryStep(ReferenceTrainer):
    """Norms are recorded at every step, whatever was asked for."""

    def run(self, steps, batches=None, every=1):
        return super().run(steps, batches, 1)


@fault("what one run records")
class RecordsTheFirst(ReferenceTrainer):
    """A run records the losses of its first step only."""

    def run(self, steps, batches=None, every=1):
        record = super().run(steps, batches, every)
        return replace(record, losses=np.repeat(record.losses[:1], steps, axis=0))


@fault("residual of inference")
class ClaimsToBeDone(ReferenceTrainer):
    """The residual recorded is that which was asked for."""

    def details(self, slopes, before):
        *others, residuals = super().details(slopes, before)
        return *others, [0.5 * residual for residual in residuals]


@fault("steps of inference")
class CountsNoSteps(ReferenceTrainer):
    """Steps of inference are not counted."""

    def details(self, slopes, before):
        norms, sizes, _, residuals = super().details(slopes, before)
        return norms, sizes, 0.0, residuals


@fault("malformed answers of training")
class ForgetsAReplica(ReferenceTrainer):
    """One replica is missing in what is recorded."""

    def values(self, slopes, rows):
        return super().values(slopes[1:], rows)

    def details(self, slopes, before):
        return super().details(slopes[1:], before)


@fault("malformed answers of training")
class LosesItsNumbers(ReferenceTrainer):
    """Parameters become no numbers."""

    def update(self, gradients):
        super().update(gradients)
        self.theta[0][:] = np.nan


@fault("parameters after a step")
class SeesTheUnobserved(ReferenceTrainer):
    """Outputs that are not observed count, with a target of zero."""

    def batch(self, replica, rows):
        x, y, *_ = super().batch(replica, rows)
        return [x, y.nan_to_num(0.0)]
