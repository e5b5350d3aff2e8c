"""``seeds: N``: a case a seed, or replicas of the kind's own."""

import pytest

from pcbench import registry
from pcbench.case import Case, CaseParameters
from pcbench.suite import SuiteError
from pcbench.suite.grammar.seeds import REPLICATING, counts_seeds
from pcbench.suite.grammar.settings import load_kind
from pcbench.suite.yaml.node import Node
from pcbench.suite.yaml.problems import Position
from tests.suite.conftest import case_text

NOWHERE = Position("nowhere")


class Replicas(CaseParameters):
    seeds: int = 1


class Replicating(Case):
    kind = "replicating"
    description = "Replicas of its own"
    Parameters = Replicas

    def run(self, context):
        yield from ()


def seeds_of(suite):
    return {case.id: case.seed for case in suite.cases}


def test_each_seed_is_a_case_of_its_own_from_the_first_on(load):
    suite = load(case_text("kind: ordered", "seed: 5", "seeds: 3"))
    assert seeds_of(suite) == {"a[seed=5]": 5, "a[seed=6]": 6, "a[seed=7]": 7}


def test_seeds_vary_within_the_matrix_and_can_be_excluded(load):
    lines = ("matrix: {low: [0, 1]}", "seeds: 2", "exclude: [{low: 1, seed: 0}]")
    suite = load(case_text("kind: ordered", *lines))
    assert list(seeds_of(suite)) == ["a[low=0,seed=0]", "a[low=0,seed=1]", "a[low=1,seed=1]"]


def test_defaults_give_seeds_to_every_case(load):
    suite = load(
        "suite: s\ndefaults: {seeds: 2, seed: 3}\n"
        "cases: [{id: a, kind: ordered}, {id: b, kind: ordered, matrix: {seed: [1]}}]"
    )
    assert seeds_of(suite) == {"a[seed=3]": 3, "a[seed=4]": 4, "b[seed=1]": 1}


@pytest.mark.parametrize("quick", ["seeds: 1", "seed: 0"])
def test_a_size_has_another_number_of_seeds(load, quick):
    text = case_text("kind: ordered", quick, "sizes: {full: {seeds: 2}}")
    assert list(seeds_of(load(text))) == ["a"]  # as without any seeds
    assert list(seeds_of(load(text, size="full"))) == ["a[seed=0]", "a[seed=1]"]


def test_an_override_of_the_seed_leaves_one_case(load):
    text = case_text("kind: ordered", "seeds: 3")
    assert seeds_of(load(text, overrides=["seed=9"])) == {"a": 9}


def test_a_kind_with_replicas_of_its_own_gets_the_number(load_case, monkeypatch):
    monkeypatch.setitem(registry.CASES.entries, "replicating", Replicating)
    case = load_case("kind: replicating", "seeds: 4")
    assert (case.id, case.seed, case.parameters.seeds) == ("a", 0, 4)


def test_the_shipped_kinds_that_replicate_are_known_without_being_imported(monkeypatch):
    monkeypatch.undo()  # the made-up kinds
    kinds = {name: load_kind(name) for name in registry.CASES.names()}
    own = {name for name, kind in kinds.items() if "seeds" in kind.Parameters.model_fields}
    assert own == REPLICATING
    monkeypatch.setattr("pcbench.suite.grammar.settings.load_kind", None)  # called, it would fail
    for name in kinds:
        case = Node({"seeds": Node(2, NOWHERE)}, NOWHERE)
        assert counts_seeds(case, Node({}, NOWHERE), name) is (name not in REPLICATING)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("seeds: ¶0", "'seeds' must be a number of seeds, from 1 to 10,000, not 0"),
        ("seeds: ¶1000000000", "not 1000000000"),
        ("seeds: ¶true", "not true"),
        ("seeds: ¶[1, 2]", "not a list"),
        ("sizes: {full: {seeds: ¶-1}}", "not -1"),
        ("matrix: {seed: [1]}\n¶seeds: 2", "the case varies 'seed' already"),
        ("matrix: {seed: [1]}\nsizes: {full: {¶seeds: 2}}", "the case varies 'seed' already"),
        (
            "seeds: 2\nsizes: {full: {matrix: {seed: [7]}, ¶seeds: 3}}",
            "the case varies 'seed' already",
        ),
        (
            "seeds: 2\nsizes: {full: {¶seeds: 3, matrix: {seed: [7]}}}",
            "the case varies 'seed' already",
        ),
        ("seeds: 2\nsizes: {full: {¶seed: 5}}", "the case has seeds, so the size 'full' cannot"),
        ("seed: ¶-1\nseeds: 2", "'seed' must be an integer of at least 0, not -1"),
        ("seed: ¶x\nseeds: 2", "'seed' must be an integer of at least 0, not 'x'"),
    ],
)
def test_what_is_no_number_of_seeds_is_refused_where_it_stands(refuse_case, lines, message):
    refuse_case(f"kind: ordered\n{lines}", message)


def test_the_number_of_seeds_is_the_suites(load):
    with pytest.raises(SuiteError, match="seeds are counted in the suite"):
        load(case_text("kind: ordered", "seeds: 2"), overrides=["seeds=3"])
