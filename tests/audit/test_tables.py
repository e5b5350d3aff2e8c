"""Rows of a table are faults like any other, and answer what they say."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pcbench.audit import Fault, FaultyBackend, FaultyModel, FaultyTrainer, Part, Trait
from pcbench.audit.catalogue import put
from pcbench.audit.tables import building_faults, faults, trainer_faults
from pcbench.backends.torch import TorchBackend
from pcbench.contract import ExactInference, Sgd, TrainingSettings
from pcbench.networks import NetworkSpec
from tests.audit.audit_faults import audited

NETWORK = NetworkSpec((2, 3, 2))
RNG = np.random.default_rng(0)
WEIGHTS = [RNG.standard_normal(shape) for shape in NETWORK.shapes]
X, Y = RNG.standard_normal((2, 4, 2))


def built(mistaken):
    """Return the correct backend, its model, and the model with a mistake."""
    backend = TorchBackend()
    faulty = put(mistaken, backend).build(NETWORK, WEIGHTS)
    return backend, backend.build(NETWORK, WEIGHTS), faulty


def test_a_row_is_a_fault_with_what_its_table_says():
    [row] = faults(Part.LOSS, "loss", "predict", needs={Trait.LINEAR})(
        Doubled=("The loss is doubled.", lambda q: 2 * q.ask()),
    )
    assert issubclass(row, FaultyModel)
    fault = Fault.of(row)
    assert (fault.name, fault.mistake, fault.part) == ("Doubled", "The loss is doubled.", "loss")
    assert fault.methods == {"loss", "predict"}
    assert fault.needs == {"linear"}


def test_a_row_changes_the_answer_or_the_question_in_numpy():
    answer, question, other = faults(Part.LOSS, "loss")(
        Answer=("", lambda q: q.ask() + q.samples),
        Question=("", lambda q: q.ask(x=0 * q.x, y=q.y)),
        Other=("", lambda q: q.also("predict", x=q.x).sum()),
    )
    backend, correct, faulty = built(answer)
    x, y = backend.to_device(X), backend.to_device(Y)
    assert faulty.loss(x, y) == correct.loss(x, y) + 4
    assert built(question)[2].loss(x, y) == correct.loss(0 * x, y)
    assert built(other)[2].loss(x, y).item() == pytest.approx(correct.predict(x).sum().item())
    assert faulty.predict(x).equal(correct.predict(x))


def test_a_row_has_inference_lists_and_hessians_too():
    def wrong(q):
        if q.method == "infer":
            return replace(q.ask(), activities=[z + 1 for z in q.ask().activities], steps=7)
        if q.method == "loss_hessian":
            return q.multiplied(lambda product, vectors: 3 * product(vectors))
        return [-gradient for gradient in q.ask()]

    [row] = faults(Part.LOSS, "infer", "loss_hessian", "energy_gradients")(Row=("", wrong))
    backend, correct, faulty = built(row)
    x, y = backend.to_device(X), backend.to_device(Y)
    reached, expected = (m.infer(x, y, ExactInference()) for m in (faulty, correct))
    assert reached.steps == 7
    assert reached.energies.equal(expected.energies)
    pairs = zip(reached.activities, expected.activities, strict=True)
    assert all(found.equal(z + 1) for found, z in pairs)
    v = backend.to_device(np.eye(12))
    assert faulty.loss_hessian(x, y).product(v).equal(3 * correct.loss_hessian(x, y).product(v))
    pairs = zip(
        faulty.energy_gradients(expected.activities),
        correct.energy_gradients(expected.activities),
        strict=True,
    )
    assert all(found.equal(-gradient) for found, gradient in pairs)


def test_a_function_may_say_its_mistake_itself():
    def doubled(q):
        """The loss is doubled."""
        return 2 * q.ask()

    [row] = faults(Part.LOSS, "loss")(Doubled=doubled)
    fault = Fault.of(row)
    assert (fault.name, fault.mistake) == ("Doubled", "The loss is doubled.")
    backend, correct, faulty = built(row)
    x, y = backend.to_device(X), backend.to_device(Y)
    assert faulty.loss(x, y) == 2 * correct.loss(x, y)


def test_where_a_table_does_not_apply_the_answer_is_the_correct_one():
    [row] = faults(Part.LOSS, "loss", when=lambda q: q.precision is not None)(
        Row=("", lambda q: q.ask() * q.precision.sum()),
    )
    backend, correct, faulty = built(row)
    x, y, precision = map(backend.to_device, (X, Y, np.ones((4, 2))))
    assert faulty.loss(x, y) == correct.loss(x, y)
    assert faulty.loss(x, y, precision=precision) == 8 * correct.loss(x, y, precision)


def test_what_a_question_has_not_is_told():
    [row] = faults(Part.LOSS, "predict")(Row=("", lambda q: q.y))
    backend, _, faulty = built(row)
    with pytest.raises(AttributeError, match="predict has no argument 'y'"):
        faulty.predict(backend.to_device(X))


def test_rows_of_backends_and_of_trainers():
    [other] = building_faults(Part.BIASES)(
        Other=("", lambda network, weights: (network, [2 * weight for weight in weights])),
    )
    [still] = trainer_faults(Part.TRAINING, "scaled")(
        Still=("", lambda trainer, honest, gradients: [0 * g for g in honest(gradients)]),
    )
    assert issubclass(other, FaultyBackend)
    assert issubclass(still, FaultyTrainer)
    backend, correct, faulty = built(other)
    x, y = backend.to_device(X), backend.to_device(Y)
    assert faulty.predict(x).allclose(4 * correct.predict(x))
    trainer = built(still)[2].trainer(x, y, TrainingSettings("loss", Sgd(), 0.1))
    trainer.run(2)
    assert all(map(np.array_equal, trainer.parameters(), WEIGHTS))


def test_the_table_of_the_documentation_works_as_it_stands(tmp_path):
    text = (Path(__file__).parents[2] / "docs/audit.md").read_text(encoding="utf-8")
    table, single = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(table, names)
    exec(single, names)
    outcomes = [fault.outcome for fault in audited(tmp_path, *names["FAULTS"]).faults]
    assert outcomes == ["caught", "caught"]
    assert Fault.of(names["EpsilonInTheLoss"]).mistake == Fault.of(names["FAULTS"][0]).mistake


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((X,), {}), ((X, Y, None, None), {}), ((X, Y), {"precison": Y}), ((X, Y), {"y": Y})],
)
def test_a_question_with_other_arguments_is_refused_as_by_any_model(arguments, named):
    _, correct, faulty = built(FaultyModel)
    for model in (correct, faulty):
        with pytest.raises(TypeError):
            model.loss(*arguments, **named)


def test_a_fault_may_declare_other_capabilities_than_the_correct_backend():
    class Boasts(FaultyBackend):
        capabilities = frozenset()

    correct = TorchBackend()
    assert Boasts(correct).capabilities == frozenset()
    assert FaultyBackend(correct).capabilities == correct.capabilities
