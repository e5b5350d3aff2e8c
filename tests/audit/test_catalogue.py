"""The catalogue: every fault says what it is, plug-ins add to it, and a bad one is told."""

import pytest

import pcbench
from pcbench.audit import Fault, FaultyModel, Part, load_faults
from pcbench.audit.witness import Occasion
from pcbench.registry import FAULTS, BrokenPluginError
from tests.audit.audit_faults import DoubledLoss, Harmless, OnlyWithAMask
from tests.helpers.example_plugins import PlainNumpy
from tests.helpers.plugged_in import plugged_in
from tests.helpers.toy_suites import ENERGY, write_suite

CATALOGUE = load_faults()


@pytest.fixture
def plugins():
    """Plug-ins of this test alone, beside pcbench's own."""
    before = dict(FAULTS._added)
    yield FAULTS
    FAULTS._added.clear()
    FAULTS._added.update(before)


def test_there_are_faults_in_every_part_of_the_contract():
    assert len(CATALOGUE) >= 130
    assert {fault.part for fault in CATALOGUE} == set(Part)


@pytest.mark.parametrize("fault", CATALOGUE, ids=lambda fault: fault.name)
def test_a_fault_says_its_mistake_in_a_sentence(fault):
    assert fault.mistake.endswith(".")
    assert fault.mistake.isprintable()
    assert 20 < len(fault.mistake) <= 100
    assert fault.plugin == "pcbench"
    assert fault.methods


def test_no_two_faults_say_the_same():
    assert len({fault.mistake for fault in CATALOGUE}) == len(CATALOGUE)


def test_a_fault_shows_where_what_it_corrupts_is_asked_for_with_what_it_needs():
    fault = Fault.of(OnlyWithAMask)
    masked = frozenset({"precision", "linear"})
    assert fault.may_show([Occasion("loss", masked)])
    assert not fault.may_show([Occasion("loss", frozenset({"linear"}))])
    assert not fault.may_show([Occasion("predict", masked)])
    assert not fault.may_show([Occasion("predict", masked), Occasion("loss", frozenset())])


def test_a_plugin_adds_one_fault_or_several(plugins):
    plugins.add("one", DoubledLoss)
    plugins.add("several", [Harmless, OnlyWithAMask])
    added = {fault.name: fault.plugin for fault in load_faults() if fault.plugin != "pcbench"}
    assert added == {"DoubledLoss": "one", "Harmless": "several", "OnlyWithAMask": "several"}


class Unexplained(FaultyModel):
    part = Part.LOSS
    loss = DoubledLoss.loss


class Unplaced(FaultyModel):
    """The loss is doubled."""

    loss = DoubledLoss.loss


class Misspelt(FaultyModel):
    """The loss is doubled where outputs have a precision."""

    part, needs = Part.LOSS, frozenset({"presision"})
    loss = DoubledLoss.loss


class Idle(FaultyModel):
    """Nothing is overridden."""

    part = Part.LOSS


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (3, "the fault 'bad' is 3, not a subclass of FaultyModel"),
        ([dict], "the fault 'bad' is <class 'dict'>, not a subclass"),
        (Unexplained, "the fault 'Unexplained' has no docstring to say its mistake"),
        (Unplaced, "the fault 'Unplaced' has no 'part'"),
        (Misspelt, "the fault 'Misspelt' has 'needs' that are no set of Capability and Trait"),
        (Idle, "the fault 'Idle' overrides no method of the contract"),
        ([DoubledLoss, DoubledLoss], "two faults are named 'DoubledLoss'.*rename one"),
    ],
)
def test_a_bad_plugin_is_told_in_a_sentence(plugins, plugin, message):
    plugins.add("bad", plugin)
    with pytest.raises(BrokenPluginError, match=message):
        load_faults()


def test_all_that_narrows_an_audit_counts(tmp_path):
    suite = write_suite(tmp_path / "suite.yaml", ENERGY)
    for options in ({"dtype": "float32"}, {"seed": 1}, {"settings": {"training.steps": 1}}):
        assert pcbench.audit_suites(suite, faults="LossSummed", **options).narrowed
    whole = pcbench.audit_suites(suite, faults="LossSummed")
    assert not whole.narrowed
    assert whole.untried == len(CATALOGUE) - 1


def test_faults_go_into_any_backend(tmp_path):
    """One of NumPy, as small as the contract lets it be."""
    suite = write_suite(tmp_path / "suite.yaml", ENERGY.replace("steps: 2", "steps: 0"))
    with plugged_in({"plain_numpy": PlainNumpy}):
        audit = pcbench.audit_suites(
            suite,
            backend="plain_numpy",
            faults="prediction or energies or dtype or (loss and not h)",
        )
    found = {fault.name: fault.outcome for fault in audit.faults if fault.exercised}
    assert len(found) >= 20
    assert {name for name, outcome in found.items() if outcome != "caught"} == set()


def test_a_fault_that_is_selected_by_name_or_part_is_tried_alone(tmp_path):
    suite = write_suite(tmp_path / "suite.yaml", ENERGY)
    [one] = pcbench.audit_suites(suite, faults="LossSummed").faults
    assert (one.name, one.outcome) == ("LossSummed", "caught")
    several = pcbench.audit_suites(suite, faults="energies and not WithoutHalf").faults
    assert {fault.part for fault in several} == {Part.ENERGIES}
    assert len(several) == 6


def test_a_selection_of_no_fault_is_told_in_a_sentence(tmp_path):
    suite = write_suite(tmp_path / "suite.yaml", ENERGY)
    with pytest.raises(pcbench.UsageError, match=r"--faults nonesuch: no fault matches"):
        pcbench.audit_suites(suite, faults="nonesuch")
    with pytest.raises(pcbench.UsageError, match=r"--faults 'loss or': a name is missing"):
        pcbench.audit_suites(suite, faults="loss or")
