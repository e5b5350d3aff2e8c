"""A witness changes nothing, sees every difference, and knows what was asked."""

from dataclasses import replace

import numpy as np
import pytest

from pcbench.audit import FaultyBackend, FaultyModel, FaultyTrainer, Part, Trait
from pcbench.audit.catalogue import put
from pcbench.audit.witness import OutOfTime, Witness
from pcbench.backends.torch import TorchBackend
from pcbench.contract import (
    Adam,
    Capability,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    Sgd,
    TrainingSettings,
)
from pcbench.networks import NetworkSpec
from tests.audit.audit_faults import DoubledLoss, HalfOfTheSamples, Harmless, MiscountedPasses

LINEAR = NetworkSpec((3, 4, 4, 2))
TANH = NetworkSpec((3, 4, 4, 2), activation="tanh", bias=True)
TRAINING = TrainingSettings("energy", Adam(), 1e-2)


def parameters(network, *replicas):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((*replicas, *s)) for s in (*network.shapes, *network.bias_shapes)]


def batch(samples=5):
    rng = np.random.default_rng(1)
    return rng.standard_normal((samples, 3)), rng.standard_normal((samples, 2))


def witness(*mistaken):
    """A witness of the correct backend beside that with the mistakes, one around the other."""
    correct = faulty = TorchBackend()
    for each in mistaken:
        faulty = put(each, faulty)
    return Witness(faulty, correct)


def ask_everything(backend, network=LINEAR):
    """Ask every question of the contract once, and bring the answers to the host."""
    model, host = backend.build(network, parameters(network)), backend.to_host
    x, y = map(backend.to_device, batch())
    engine = ExactInference() if network.is_linear else GaussNewtonInference()
    reached = model.infer(x, y, engine)
    clamped = [*reached.activities[:-1], y]
    vectors = backend.to_device(np.eye(network.n_parameters)[:3])
    trainer = backend.trainer(model, x, y, replace(TRAINING, inference=engine))
    record = trainer.run(2)
    return [
        host(model.predict(x)),
        host(model.loss(x, y)),
        *map(host, model.loss_gradients(x, y)),
        *map(host, clamped),
        host(reached.energies),
        host(model.energies(clamped)),
        *map(host, model.energy_gradients(clamped)),
        host(model.loss_hessian(x, y).product(vectors)),
        host(model.energy_hessian(clamped).product(vectors)),
        host(model.unrolled_hessian(x, y, 2, 0.1).product(vectors)),
        record.losses,
        record.gradient_norms,
        *trainer.parameters(),
        host(trainer.model.predict(x)),
    ]


@pytest.mark.parametrize("network", [LINEAR, TANH], ids=["linear", "tanh"])
def test_wrappers_without_a_mistake_change_nothing(network):
    answers = ask_everything(TorchBackend(), network)
    watched = witness(FaultyBackend, FaultyModel)
    for seen, due in zip(ask_everything(watched, network), answers, strict=True):
        assert seen.tobytes() == due.tobytes()
    assert not watched.differs
    assert watched.name == "torch"
    assert watched.capabilities == TorchBackend.capabilities
    assert watched.describe() == TorchBackend().describe()


def test_answers_that_go_to_the_host_and_back_are_the_same():
    watched = witness(Harmless)
    ask_everything(watched)
    assert not watched.differs


@pytest.mark.parametrize("mistaken", [DoubledLoss, HalfOfTheSamples, MiscountedPasses])
def test_a_difference_is_seen_wherever_it_is(mistaken):
    watched = witness(mistaken)
    ask_everything(watched)
    assert watched.differs


class Overwrites(FaultyModel):
    """The answer is right, and the input is not what it was."""

    part = Part.PURITY

    def predict(self, x):
        found = super().predict(x)
        x *= 2.0
        return found


class LosesNumbers(FaultyModel):
    """The loss is not a number."""

    part = Part.LOSS

    def loss(self, x, y, precision=None):
        return self.changed(super().loss(x, y, precision), lambda loss: loss * np.nan)


class Raises(FaultyModel):
    """The loss raises an exception."""

    part = Part.LOSS

    def loss(self, x, y, precision=None):
        raise ZeroDivisionError


class TurnsZerosRound(FaultyModel):
    """Zeros have the other sign: no difference."""

    part = Part.LOSS_GRADIENTS

    def loss_gradients(self, x, y, precision=None):
        found = super().loss_gradients(x, y, precision)
        return [self.changed(g, lambda g: np.where(g == 0, -0.0, g)) for g in found]


class AnswersAll(FaultyModel):
    """Of no samples the loss is zero, where the correct backend refuses, or has no number."""

    part = Part.ROBUSTNESS

    def loss(self, x, y, precision=None):
        return self.device(np.zeros(())) if len(x) == 0 else super().loss(x, y, precision)


class OverwritesThePrecision(FaultyModel):
    """The precision is not what it was."""

    part = Part.PURITY

    def loss(self, x, y, precision=None):
        found = super().loss(x, y, precision)
        precision *= 0.5
        return found


class OverwritesData(FaultyModel):
    """A trainer's targets are not what they were."""

    part = Part.PURITY

    def trainer(self, x, y, settings, precision=None):
        begun = super().trainer(x, self.changed(y, np.copy), settings, precision)
        y *= 0.5
        return begun


def test_zeros_of_either_sign_are_the_same():
    watched = witness(TurnsZerosRound)
    model = watched.build(LINEAR, [np.zeros(shape) for shape in LINEAR.shapes])
    model.loss_gradients(*map(watched.to_device, batch()))
    assert not watched.differs


def test_an_answer_where_the_correct_one_refuses_is_a_difference():
    watched = witness(AnswersAll)
    nothing = [watched.to_device(part) for part in batch(samples=0)]
    watched.build(LINEAR, parameters(LINEAR)).loss(*nothing)
    assert watched.differs


class RefusesNothing(TorchBackend):
    """A correct backend whose models refuse a batch of no samples."""

    def build(self, network, parameters):
        model = super().build(network, parameters)
        honest = model.loss

        def loss(x, *rest):
            if len(x) == 0:
                raise ValueError("no samples")
            return honest(x, *rest)

        model.loss = loss
        return model


@pytest.mark.parametrize(("mistaken", "differs"), [(AnswersAll, True), (Harmless, False)])
def test_where_the_correct_one_refuses_only_an_answer_is_a_difference(mistaken, differs):
    correct = RefusesNothing()
    watched = Witness(put(mistaken, correct), correct)
    model = watched.build(LINEAR, parameters(LINEAR))
    nothing = [watched.to_device(part) for part in batch(samples=0)]
    if differs:
        model.loss(*nothing)
    else:
        with pytest.raises(ValueError, match="no samples"):
            model.loss(*nothing)
    assert watched.differs is differs


def test_a_precision_that_is_changed_is_a_difference():
    watched = witness(OverwritesThePrecision)
    x, y = map(watched.to_device, batch())
    watched.build(LINEAR, parameters(LINEAR)).loss(x, y, watched.to_device(np.ones((5, 2))))
    assert watched.differs


class ModelLagsBehind(FaultyTrainer):
    """The trainer's model stays a little behind its parameters."""

    part = Part.TRAINING

    @property
    def model(self):
        ahead = super().model
        return self.backend.build(
            self.network, [(1 - 1e-12) * self.backend.to_host(p) for p in ahead.parameters]
        )


def test_a_model_that_a_trainer_has_come_to_is_watched_as_well():
    x, y = batch()
    for mistaken, differs in ((FaultyTrainer, False), (ModelLagsBehind, True)):
        correct = TorchBackend()
        watched = Witness(put(mistaken, correct), put(FaultyTrainer, correct))
        model = watched.build(LINEAR, parameters(LINEAR))
        trainer = watched.trainer(model, *map(watched.to_device, (x, y)), TRAINING)
        trainer.run(2)
        assert not watched.differs
        trainer.model.predict(watched.to_device(x))
        assert watched.differs is differs


def test_data_that_a_trainer_changes_are_a_difference():
    watched = witness(OverwritesData)
    model = watched.build(LINEAR, parameters(LINEAR))
    watched.trainer(model, *map(watched.to_device, batch()), TRAINING)
    assert watched.differs


def test_an_input_that_is_changed_is_a_difference():
    watched = witness(Overwrites)
    model = watched.build(LINEAR, parameters(LINEAR))
    model.loss(*map(watched.to_device, batch()))
    assert not watched.differs
    model.predict(watched.to_device(batch()[0]))
    assert watched.differs


def test_what_is_not_a_number_is_a_difference_but_not_from_itself():
    watched = witness(LosesNumbers)
    watched.build(LINEAR, parameters(LINEAR)).loss(*map(watched.to_device, batch()))
    assert watched.differs
    both = Witness(put(LosesNumbers, TorchBackend()), put(LosesNumbers, TorchBackend()))
    both.build(LINEAR, parameters(LINEAR)).loss(*map(both.to_device, batch()))
    assert not both.differs


def test_an_exception_is_a_difference_and_goes_through():
    watched = witness(Raises)
    model = watched.build(LINEAR, parameters(LINEAR))
    with pytest.raises(ZeroDivisionError):
        model.loss(*map(watched.to_device, batch()))
    assert watched.differs


def test_a_trainer_of_numpy_without_a_mistake_is_the_same_as_itself_and_near_the_backends():
    correct = TorchBackend()
    watched = Witness(put(FaultyTrainer, correct), put(FaultyTrainer, correct))
    seen = ask_everything(watched)
    assert not watched.differs
    for ours, theirs in zip(seen, ask_everything(correct), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_a_trainer_of_numpy_keeps_replicas_and_takes_each_ones_batches():
    settings = TrainingSettings("loss", Sgd(), np.array([0.1, 0.2, 0.3]))
    x, y = batch(6)
    rows = np.random.default_rng(2).integers(0, 6, (4, 3, 2))
    found = []
    for backend in (TorchBackend(), put(FaultyTrainer, TorchBackend())):
        model = backend.build(LINEAR, parameters(LINEAR, 3))
        trainer = backend.trainer(model, backend.to_device(x), backend.to_device(y), settings)
        trainer.run(2, rows[:2])
        trainer.keep([2, 0])
        record = trainer.run(2, rows[2:, [2, 0]], 2)
        found.append([record.losses, record.gradient_norms, *trainer.parameters()])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


# What was asked


def uses_of(watched, method):
    return [occasion.uses for occasion in watched.occasions if occasion.method == method]


def test_what_an_answer_takes_is_known():
    watched = witness()
    x, y = map(watched.to_device, batch())
    model = watched.build(TANH, parameters(TANH))
    model.infer(x, y, GradientInference(max_steps=1, record=True), watched.to_device(batch()[1]))
    [finished, unfinished] = sorted(uses_of(watched, "infer"), key=len)
    assert unfinished - finished == {Trait.UNFINISHED}
    assert finished == {
        Capability.NONLINEAR,
        Capability.GRADIENT_INFERENCE,
        Capability.PRECISION,
        Trait.ACTIVATION,
        Trait.BIAS,
        Trait.ITERATIVE,
        Trait.RECORDED,
    }


def test_questions_that_come_again_and_other_batches_are_known():
    watched = witness()
    model = watched.build(LINEAR, parameters(LINEAR))
    model.loss(*map(watched.to_device, batch(5)))
    assert uses_of(watched, "loss") == [{Trait.LINEAR}]
    model.loss(*map(watched.to_device, batch(4)))
    assert {Trait.LINEAR, Trait.ASKED_AGAIN, Trait.OTHER_BATCH} in uses_of(watched, "loss")


def test_what_training_takes_is_known():
    watched = witness()
    model = watched.build(LINEAR, parameters(LINEAR, 2))
    x, y = map(watched.to_device, batch())
    watched.trainer(model, x, y, replace(TRAINING, scale=2.0))
    [uses] = uses_of(watched, "trainer")
    assert uses == {
        Capability.TRAINING,
        Capability.REPLICAS,
        Capability.EXACT_INFERENCE,
        Trait.LINEAR,
        Trait.PREDICTIVE_CODING,
        Trait.ADAM,
        Trait.SCALED,
    }


def test_no_question_is_taken_after_the_deadline():
    watched = Witness(TorchBackend(), deadline=-1.0)
    with pytest.raises(OutOfTime):
        watched.build(LINEAR, parameters(LINEAR))
