"""The judge of training: honest trainers pass, and every mistake is named."""

import numpy as np
import pytest
import torch

from pcbench.audit import FaultyTrainer
from pcbench.backends.torch import TorchBackend, training
from pcbench.case import CaseSkippedError
from pcbench.contract import Adam, TrainingSettings
from pcbench.judges.training.step_judge import StepJudge
from tests.cases.faulty.trainers import FAULTS, training_with
from tests.judges.training_problems import (
    GAUSS_NEWTON,
    NETWORKS,
    PAPER,
    SITUATIONS,
    Lent,
    failed,
    judge,
    plateau,
    pose,
    settings,
)

HONEST = {"torch": TorchBackend, "reference": training_with(FaultyTrainer)}
NAMES = {
    "parameters at the start",
    "malformed answers of training",
    "parameters brought to the host",
    "steps of inference",
    "parameters after a step",
    "gradient norms",
    "parameter norms",
    "loss of a step",
    "energy of a step",
    "residual of inference",
    "steps taken in one run",
    "steps recorded in one run",
    "what one run records",
    "parameters of replicas kept",
    "loss of the model that training left",
    "model that training began with",
}
# Where a mistake shows that does not show everywhere.
WITH_ADAM = {
    "SharedMoments",
    "NoBiasCorrection",
    "EpsilonUnderTheRoot",
    "StaleCount",
    "KeepMixesMoments",
}
WITH_INFERENCE = {"LearnsFromStaleActivities", "ResidualHalved", "InferenceNotCounted"}
WITH_A_MASK = {"TrainingSeesUnobserved"}
WITH_BIASES = {"BiasesFrozen"}
# An epsilon of 1e-8 shows beside gradients that are small: there, under the root, it is 1e-4.
WITH_SMALL_GRADIENTS = {"EpsilonUnderTheRoot"}
OF_ONE_LEARNER = {"PredictiveCodingIsBackpropagation": "PC", "BackpropagationInfers": "BP"}


@pytest.mark.parametrize(
    ("dtype", "adam"), [("float64", False), ("float32", False), ("float32", True)]
)
@pytest.mark.parametrize("learner", ["BP", "PC"])
@pytest.mark.parametrize(("network", "inference"), SITUATIONS)
def test_an_honest_trainer_passes(network, inference, dtype, learner, adam):
    problem, parameters = pose(dtype=dtype, **NETWORKS[network])
    asked = settings(learner, adam=adam, inference=inference)
    verdicts = judge(TorchBackend(dtype=dtype), problem, parameters, asked, learner)
    assert failed(verdicts) == set()
    assert set(verdicts) == NAMES


@pytest.mark.parametrize("adam", [False, True], ids=["sgd", "adam"])
@pytest.mark.parametrize(("network", "inference"), SITUATIONS)
def test_another_honest_trainer_passes(network, inference, adam):
    problem, parameters = pose(dtype="float32", **NETWORKS[network])
    asked = settings("PC", adam=adam, inference=inference)
    backend = HONEST["reference"](dtype="float32")
    assert failed(judge(backend, problem, parameters, asked, "PC")) == set()


@pytest.fixture
def flushing():
    assert torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("flushing")
@pytest.mark.parametrize("std", [0.99 * 2.0**-63, 1e-25])
@pytest.mark.parametrize("adam", [False, True], ids=["sgd", "adam"])
@pytest.mark.parametrize(("activation", "inference"), [("identity", None), ("tanh", GAUSS_NEWTON)])
@pytest.mark.parametrize("learner", ["BP", "PC"])
def test_an_honest_trainer_may_flush_what_underflows(learner, activation, inference, adam, std):
    problem, parameters = pose(widths=(5, 8, 8, 3), dtype="float32", std=std, activation=activation)
    asked = settings(learner, adam=adam, inference=inference)
    assert (
        failed(judge(TorchBackend(dtype="float32"), problem, parameters, asked, learner)) == set()
    )


@pytest.mark.usefixtures("flushing")
def test_mistakes_are_named_where_numbers_are_flushed():
    problem, parameters = pose(widths=(5, 8, 8, 3), dtype="float32", std=1e-13)
    trainer, check = FAULTS["LongerSteps"]
    backend = training_with(trainer)(dtype="float32")
    assert check in failed(judge(backend, problem, parameters, settings("PC"), "PC"))


@pytest.mark.parametrize("batches", [False, "own"], ids=["all samples", "batches of their own"])
@pytest.mark.parametrize("backend", HONEST)
def test_batches_may_be_all_samples_or_each_replicas_own(backend, batches):
    problem, parameters = pose(dtype="float64", **NETWORKS["linear"])
    backend = HONEST[backend](dtype="float64")
    verdicts = judge(backend, problem, parameters, settings("PC"), "PC", batches=batches)
    assert failed(verdicts) == set()


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_any_number_of_replicas_is_judged(replicas):
    problem, parameters = pose(dtype="float64", replicas=replicas, **NETWORKS["linear"])
    asked = settings("PC", rate=np.linspace(0.1, 0.2, replicas))
    verdicts = judge(TorchBackend(), problem, parameters, asked, "PC")
    assert failed(verdicts) == set()
    assert verdicts["loss of a step"].comparisons == {1: 3, 2: 4, 5: 9}[replicas]


def test_no_more_steps_are_taken_than_there_are_batches():
    problem, parameters = pose(dtype="float64", **NETWORKS["linear"])
    rows = np.random.default_rng(5).integers(0, len(problem.x), (2, 16))
    found = StepJudge(Lent(TorchBackend()), problem, settings("PC"), parameters, rows, "PC")
    verdicts = {check.name: check for check in found.findings(steps=5)}
    assert failed(verdicts) == set()
    assert verdicts["steps of inference (PC)"].comparisons == 2


def test_one_step_is_enough():
    problem, parameters = pose(dtype="float64", **NETWORKS["linear"])
    verdicts = judge(TorchBackend(), problem, parameters, settings("PC"), "PC", steps=1)
    assert failed(verdicts) == set()
    assert set(verdicts) == NAMES - {"parameters of replicas kept"}


@pytest.mark.parametrize(("dtype", "learner"), [("float64", "PC"), ("float32", "BP")])
@pytest.mark.parametrize("name", FAULTS)
def test_a_mistake_is_named(name, dtype, learner):
    trainer, check = FAULTS[name]
    if name in WITH_INFERENCE and learner == "BP":
        learner = "PC"
    learner = OF_ONE_LEARNER.get(name, learner)
    network, inference = "linear", None
    if name in WITH_A_MASK:
        network = "masked"
    elif name in WITH_INFERENCE | WITH_BIASES:
        network, inference = "tanh", PAPER
    elif name in WITH_SMALL_GRADIENTS:
        network = "near the origin"
    problem, parameters = pose(dtype=dtype, **NETWORKS[network])
    asked = settings(learner, adam=name in WITH_ADAM, inference=inference)
    verdicts = judge(training_with(trainer)(dtype=dtype), problem, parameters, asked, learner)
    assert check in failed(verdicts)
    assert verdicts[check].message


def at_the_plateau(learner, dtype):
    problem, parameters = plateau(dtype)
    asked = settings(learner, rate=np.array([0.01, 0.02]))
    return judge(TorchBackend(dtype=dtype), problem, parameters, asked, learner, batches=False)


@pytest.mark.parametrize(
    ("dtype", "learner"), [("float64", "BP"), ("float64", "PC"), ("float32", "BP")]
)
def test_norms_that_lose_half_their_digits_are_named(learner, dtype, monkeypatch):
    assert failed(at_the_plateau(learner, dtype)) == set()

    honest = training.norm

    def by_traces(array, replicas):
        if not isinstance(array, training.Product):
            return honest(array, replicas)
        square = (array.left @ array.left.mT) * (array.right @ array.right.mT)
        return square.sum((-2, -1)).clamp(min=0).sqrt()

    monkeypatch.setattr(training, "norm", by_traces)
    assert failed(at_the_plateau(learner, dtype)) == {"gradient norms"}


def test_steps_without_a_bound_are_refused_with_a_remedy():
    problem, parameters = pose(dtype="float64", **NETWORKS["linear"])
    asked = TrainingSettings("loss", Adam(beta_2=0.0), 0.1)
    with pytest.raises(CaseSkippedError, match="give beta_2 a positive value"):
        judge(TorchBackend(), problem, parameters, asked, "BP")


def test_verdicts_are_the_same_every_time():
    problem, parameters = pose(dtype="float32", **NETWORKS["tanh"])
    asked = settings("PC", inference=PAPER)
    one, other = (
        judge(TorchBackend(dtype="float32"), problem, parameters, asked, "PC") for _ in range(2)
    )
    assert one == other


# What the paper trains: near the origin gradients of backpropagation are tiny beside the weights.
PAPERS = {"widths": (784, 500, 500, 500, 500, 10), "std": 0.005, "samples": 256, "replicas": 2}
SLIPS = [
    "PreviousBatch",
    "FirstLayerFrozen",
    "LastLayerFrozen",
    "SumForMean",
    "SharedMoments",
    "LearnsFromStaleActivities",
]


def at_the_papers_size(backend, learner, dtype, *, adam=False, inference=None):
    problem, parameters = pose(dtype=dtype, **PAPERS)
    asked = settings(learner, adam=adam, inference=inference, scale=1.0, rate=np.full(2, 1e-3))
    return judge(backend(dtype=dtype), problem, parameters, asked, learner, steps=2, batch=64)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("learner", ["BP", "PC"])
def test_an_honest_trainer_passes_at_the_papers_size(learner, dtype):
    assert failed(at_the_papers_size(TorchBackend, learner, dtype)) == set()


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["BP", "PC"])
@pytest.mark.parametrize("name", SLIPS)
def test_a_mistake_is_named_at_the_papers_size_in_float32(name, learner):
    if name == "LearnsFromStaleActivities" and learner == "BP":
        pytest.skip("backpropagation infers nothing")
    trainer, check = FAULTS[name]
    verdicts = at_the_papers_size(
        training_with(trainer), learner, "float32", adam=name in WITH_ADAM
    )
    assert check in failed(verdicts)
