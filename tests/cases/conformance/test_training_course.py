"""Courses of training: who ends when and why, and batches that belong to a seed."""

from unittest.mock import Mock

import numpy as np
import pytest

from pcbench.case import Context
from pcbench.contract import ExactInference, Record, Trainer
from pcbench.judges.training.curves import Batches, Course, draw_seeds, learning_rule, looks
from pcbench.networks import NearOrigin, NetworkSpec


class ScriptedTrainer(Trainer):
    """Reads every replica's losses from a table, and notes what it was asked."""

    def __init__(self, losses):
        self.losses = np.asarray(losses, float)  # (T, R)
        self.replicas = list(range(self.losses.shape[1]))
        self.asked = []
        self.step = 0

    def run(self, steps, batches=None, every=1):
        self.asked.append((steps, None if batches is None else batches.shape, list(self.replicas)))
        losses = self.losses[self.step : self.step + steps][:, self.replicas]
        recorded = np.arange(0, steps, every)
        self.step += steps
        norms = np.repeat(losses[recorded][:, :, None], 2, axis=2)
        return Record(
            losses, losses / 2, recorded, norms, norms * 3, np.ones(len(recorded)), losses[recorded]
        )

    def parameters(self):
        raise NotImplementedError

    def keep(self, replicas):
        self.replicas = [self.replicas[index] for index in replicas]


def train(*args, **kwargs):
    for _ in looks(*args, **kwargs):
        pass


def ramp(*slopes, steps=12):
    return np.arange(1, steps + 1)[:, None] * np.array(slopes, float)


def test_every_replica_ends_in_its_own_way_and_the_others_go_on():
    losses = ramp(1.0, 1.0, 1.0, 1.0)
    losses[5:, 1] = np.nan
    losses[3:, 2] = 1e9
    trainer, course = ScriptedTrainer(losses), Course(4, 2)

    def stop(course):
        seen = np.zeros(4, bool)
        seen[3] = len(course.losses) >= 8
        return seen

    train(trainer, course, steps=12, look=2, every=2, stop=stop)
    assert course.fates == ["out of steps", "diverged", "diverged", "stopped"]
    assert course.steps.tolist() == [12, 6, 4, 8]
    np.testing.assert_array_equal(course.losses[:, 0], losses[:, 0])
    assert np.isnan(course.losses[4:, 2]).all()
    assert np.isnan(course.losses[8:, 3]).all()
    np.testing.assert_array_equal(course.losses[:8, 3], losses[:8, 3])
    assert course.recorded.tolist() == [0, 2, 4, 6, 8, 10]
    np.testing.assert_array_equal(course.parameter_norms[:, 0, 1], 3 * losses[::2, 0])
    assert [replicas for _, _, replicas in trainer.asked] == [
        [0, 1, 2, 3],
        [0, 1, 2, 3],
        [0, 1, 3],
        [0, 3],
        [0],
        [0],
    ]


def test_the_last_look_is_as_long_as_the_budget_leaves():
    trainer, course = ScriptedTrainer(ramp(1.0, steps=7)), Course(1, 2)
    train(trainer, course, steps=7, look=3)
    assert [steps for steps, _, _ in trainer.asked] == [3, 3, 1]
    assert course.losses[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_a_pause_comes_before_anyone_is_dropped():
    losses = ramp(1.0, 1.0, steps=4)
    losses[1:, 0] = np.inf
    trainer, course = ScriptedTrainer(losses), Course(2, 2)
    seen = [
        (alive.tolist(), list(trainer.replicas))
        for alive in looks(trainer, course, steps=4, look=2)
    ]
    assert seen == [([0, 1], [0, 1]), ([1], [1])]


def test_replicas_that_have_ended_no_longer_have_batches():
    trainer, course = ScriptedTrainer(ramp(1.0, 1.0, steps=4)), Course(2, 2)
    batches = Batches(samples=10, size=3, seeds=2, shuffler=np.random.default_rng)
    train(
        trainer,
        course,
        steps=4,
        look=2,
        batches=batches,
        stop=lambda course: np.array([True, False]),
    )
    assert [shape for _, shape, _ in trainer.asked] == [(2, 2, 3), (2, 1, 3)]


def test_batches_are_epochs_of_shuffled_samples_whatever_is_asked_for():
    batches = Batches(samples=10, size=3, seeds=2, shuffler=lambda epoch: rng_of(epoch))
    whole = batches(0, 7)
    assert whole.shape == (7, 2, 3)
    for epoch in (whole[:3], whole[3:6]):
        for seed in range(2):
            rows = epoch[:, seed].ravel().tolist()
            assert len(set(rows)) == 9
    assert not np.array_equal(whole[:3, 0], whole[:3, 1])
    assert not np.array_equal(whole[:3], whole[3:6])
    again = Batches(samples=10, size=3, seeds=2, shuffler=lambda epoch: rng_of(epoch))
    np.testing.assert_array_equal(again(5, 7), whole[5:7])
    np.testing.assert_array_equal(again(0, 1), whole[:1])


def rng_of(epoch):
    return np.random.default_rng(100 + epoch)


def test_seeds_are_the_same_however_many_there_are():
    network = NetworkSpec((3, 4, 2), bias=True)

    def draw(seeds):
        context = Mock(spec=Context, backend=Mock(dtype="float32"))
        context.rng.side_effect = lambda stream: np.random.default_rng(int(stream == "biases") + 1)
        return draw_seeds(context, network, NearOrigin(std=0.1), seeds)

    few, many = draw(2), draw(5)
    assert [array.shape for array in many] == [(5, 4, 3), (5, 2, 4), (5, 4), (5, 2)]
    for a, b in zip(few, many, strict=True):
        np.testing.assert_array_equal(a, b[:2])
        np.testing.assert_array_equal(b, b.astype(np.float32))
    assert not np.array_equal(many[0][0], many[0][1])


@pytest.mark.parametrize(("batch", "outputs", "times"), [(64, 10, 320), (10, 10, 50)])
def test_the_published_step_of_pc_is_so_many_times_that_of_bp(batch, outputs, times):
    def scales(scaling):
        samples, exact = (batch, outputs), ExactInference()
        rules = [learning_rule(who, scaling, 0.1, samples, exact) for who in ("BP", "PC")]
        return [rule.scale for rule in rules]

    bp, pc = scales("published")
    assert pc / bp == pytest.approx(times)
    bp, pc = scales("matched")
    assert bp == pc
