import dataclasses
import pickle

import pytest

from pcbench import registry
from pcbench.suite import PlannedCase, SuiteError, load_suite, load_suites
from tests.suite.suite_fakes import DigitsData, Gradient, Toy, Uniform


def test_a_suite_becomes_typed_cases(load, tmp_path):
    suite = load("""\
suite: theory
description: Theorem checks
defaults: {seed: 3, dtype: float32}
cases:
  - id: everything
    kind: toy
    backend: numpy
    device: cuda:1
    data: {name: digits, samples: 8}
    network: {hidden_layers: 5, width: 300}
    inference: {engine: gradient, tolerance: 1e-3}
    pair: [0, 2]
  - {id: little, kind: ordered, seed: 0, dtype: float64}
""")
    assert (suite.name, suite.description) == ("theory", "Theorem checks")
    assert suite.path == tmp_path / "suite.yaml"
    everything, little = suite.cases
    assert everything.case is Toy
    assert everything.parameters.data == DigitsData(samples=8)
    assert everything.parameters.network == Uniform(hidden_layers=5, width=300)
    assert everything.parameters.inference == Gradient(engine="gradient", tolerance=1e-3)
    assert everything.parameters.pair == (0.0, 2.0)
    assert dataclasses.replace(everything, parameters=None) == PlannedCase(
        id="everything",
        kind="toy",
        case=Toy,
        parameters=None,
        seed=3,
        dtype="float32",
        backend="numpy",
        device="cuda:1",
    )
    assert (little.seed, little.dtype, little.backend, little.device) == (
        0,
        "float64",
        "torch",
        "cpu",
    )


def test_a_suite_is_frozen_and_travels_to_other_processes(load):
    suite = load("suite: s\ncases: [{id: a, kind: ordered}]")
    assert pickle.loads(pickle.dumps(suite)) == suite
    with pytest.raises(dataclasses.FrozenInstanceError):
        suite.cases = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        suite.cases[0].seed = 1


def test_names_that_yaml_1_1_takes_for_booleans_stay_names(load_case):
    assert load_case("kind: toy", "data: digits", "label: no").parameters.label == "no"


def test_a_float_with_an_exponent_is_a_number(load_case):
    assert load_case("kind: toy", "data: digits", "scale: 1e-3").parameters.scale == 1e-3


def test_a_whole_float_will_do_for_an_integer(load_case):
    assert load_case("kind: ordered", "high: 1e4").parameters.high == 10_000


# Defaults


def test_defaults_lie_beneath_a_case_deeply(load):
    suite = load("""\
suite: s
defaults: {seed: 1, data: {samples: 8}, network: {width: 4, hidden_layers: 1}}
cases:
  - {id: a, kind: toy, data: {name: digits}, network: {width: 2}}
  - {id: b, kind: toy, data: digits, seed: 2}
  - {id: c, kind: ordered}
""")
    a, b, c = suite.cases
    assert a.parameters.network == Uniform(hidden_layers=1, width=2)
    assert a.parameters.data == b.parameters.data == DigitsData(samples=8)
    assert [case.seed for case in (a, b, c)] == [1, 2, 1]


def test_a_named_default_is_filled_in_as_a_mapping_is(load):
    suite = load("""\
suite: s
defaults: {data: digits}
cases:
  - {id: a, kind: toy, data: {samples: 3}}
  - {id: b, kind: toy, data: gaussian}
""")
    assert suite.cases[0].parameters.data == DigitsData(samples=3)
    assert suite.cases[1].parameters.data.name == "gaussian"


def test_a_default_gives_way_to_a_value_of_another_shape(load):
    (case,) = load("""\
suite: s
defaults: {steps: {a: 1}, layers: [{units: 1}]}
cases:
  - {id: a, kind: toy, data: digits, steps: 3, layers: []}
""").cases
    assert case.parameters.steps == 3
    assert case.parameters.layers == []


def test_a_misspelt_default_is_refused_where_it_stands(refuse):
    refuse(
        "suite: s\ndefaults: {¶sed: 1, ¶netwrok: {}, low: 0}\ncases:\n"
        "  - {id: a, kind: toy, data: digits}\n  - {id: b, kind: ordered}",
        "no case of the suite has the parameter 'sed'; did you mean 'seed'?",
        "did you mean 'network'?",
    )


def test_a_default_is_wrong_where_it_stands_and_once(refuse):
    refuse(
        "suite: s\ndefaults: {data: {samples: ¶0, ¶smples: 1}, dtype: ¶half}\ncases:\n"
        "  - {id: a, kind: toy, data: digits}\n"
        "  - {id: b, kind: toy, data: digits, matrix: {seed: [1, 2, 3]}}",
        "'data.samples' must be greater than 0, not 0",
        "unknown key 'smples'; did you mean 'samples'?",
        "'dtype' must be 'float32' or 'float64', not 'half'",
    )


# Run settings


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seed: ¶-1", "'seed' must be an integer of at least 0, not -1"),
        ("seed: ¶1.0", "not 1.0"),
        ("seed: ¶true", "not true"),
        ("seed: ¶[1]", "not a list"),
        ("seed: ¶'1'", "not '1'"),
        ("dtype: ¶float16", "'dtype' must be 'float32' or 'float64', not 'float16'"),
        ("dtype: ¶{}", "not a mapping"),
        ("backend: ¶tocrh", "unknown backend 'tocrh'; did you mean 'torch'?"),
        ("backend: ¶1", "'backend' must be the name of a backend, not 1"),
        ("device: ¶''", "'device' must be the name of a device, not ''"),
        ("device: ¶0", "'device' must be the name of a device, not 0"),
    ],
)
def test_a_wrong_run_setting_is_refused(refuse_case, line, message):
    refuse_case(f"kind: ordered\n{line}", message)


# Kinds


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("orders_of_it", "unknown case kind 'orders_of_it'"),
        ("broken", "the case kind 'broken' cannot be imported"),
        ("impostor", "not a subclass of Case"),
        ("bare", "has no model 'Parameters'"),
    ],
)
def test_a_kind_that_cannot_be_had_leaves_the_rest_to_be_checked(refuse, kind, message):
    refuse(
        f"suite: s\ndefaults: {{unknown: 1}}\ncases:\n"
        f"  - {{id: a, kind: ¶{kind}, seed: ¶x}}\n"
        "  - {id: b, kind: ordered, low: ¶x}",
        message,
        "'seed' must be",
        "'low' must be an integer",
    )


def test_a_misspelt_kind_hides_no_other_mistake_of_its_case(refuse):
    refuse(
        "suite: s\ndefaults: {low: 1}\ncases:\n"
        "  - {id: a, kind: ¶orderd, ¶hihg: 2, high: ¶x, seed: ¶y}\n"
        "  - ¶{id: b, kind: ¶orderd, high: 0}\n"
        "  - {id: c, kind: ¶orderd, high: 1}",
        "unknown case kind 'orderd'; did you mean 'ordered'?",
        "unknown key 'hihg'; did you mean 'high'?",
        "'high' must be an integer, not 'x'",
        "'seed' must be",
        "must not exceed",
        "unknown case kind",
        "unknown case kind",
    )


def test_a_kind_far_from_its_name_hides_no_mistake_of_every_kind(refuse, monkeypatch):
    monkeypatch.delitem(registry.CASES.entries, "explosive")
    refuse(
        "suite: s\ncases: [{id: a, kind: ¶orders_of_it, low: 0, ¶hihg: 2}]",
        "unknown case kind 'orders_of_it'",
        "unknown key 'hihg'",
    )


def test_of_a_kind_that_could_be_either_of_two_only_mistakes_of_both_are_told(refuse, monkeypatch):
    monkeypatch.setitem(registry.CASES.entries, "orderey", registry.CASES.entries["toy"])
    refuse(
        "suite: s\ncases: [{id: a, kind: ¶ordere, low: 1, scale: 1, ¶neither: 2}]",
        "did you mean 'order",
        "unknown key 'neither'",
    )


def test_every_problem_is_one_line(write):
    with pytest.raises(SuiteError) as caught:
        load_suite(write("suite: s\ncases:\n  - {id: a, kind: broken}\n  - {id: b, kind: x}"))
    assert len(str(caught.value).splitlines()) == len(caught.value.problems) == 2


def test_a_bug_in_a_plug_ins_model_is_a_problem_of_the_case(refuse):
    refuse(
        "suite: s\ncases: [¶{id: a, kind: explosive}]",
        "the parameters cannot be read: KeyError: 'a bug in a plug-in'",
    )


# Parameters


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("¶netwrk: {}", "unknown key 'netwrk'; did you mean 'network'?"),
        ("¶sead: 1", "unknown key 'sead'; did you mean 'seed'?"),
        ("¶zzz: 1", "unknown key 'zzz'"),
        ("network: {¶hiden_layers: 5, width: 3}", "did you mean 'hidden_layers'?"),
        ("network: {hidden_layers: 5, width: ¶x}", "'network.width' must be an integer, not 'x'"),
        ("network: ¶{width: 3}", "'network.hidden_layers' is missing"),
        ("network: {widths: [3, ¶0]}", "'network.widths[1]' must be greater than 0, not 0"),
        ("network: {widths: ¶[]}", "'network.widths' must be of length 1 or more, not 0"),
        ("network: ¶[3]", "'network' must be a mapping, not a list"),
        ("inference: {engine: ¶exakt}", "'inference.engine' must be one of 'exact', 'gradient'"),
        ("inference: ¶{}", "'inference.engine' is missing"),
        ("inference: {engine: gradient, tolerance: ¶0}", "greater than 0, not 0"),
        ("inference: {engine: gradient, tolerance: ¶.inf}", "a finite number, not .inf"),
        ("inference: {engine: gradient, ¶tolerence: 1}", "did you mean 'tolerance'?"),
        ("inference: {engine: exact, ¶tolerance: 1}", "unknown key 'tolerance'; known: engine"),
        ("steps: ¶soon", "'steps' must be an integer or 'auto', not 'soon'"),
        ("scale: ¶-1.5", "'scale' must be at least 0, not -1.5"),
        ("scale: ¶11", "'scale' must be at most 10, not 11"),
        ("scale: ¶fast", "'scale' must be a number, not 'fast'"),
        ("scale:¶", "'scale' must be a number, not null"),
        ("limit: ¶x", "'limit' must be a number, not 'x'"),
        ("label: ¶3", "'label' must be a string, not 3"),
        ("label: ¶''", "a string of at least 1 characters, not ''"),
        ("label: ¶abcdef", "a string of at most 5 characters, not 'abcdef'"),
        ("label: ¶A", "a string that matches ^[a-z]*$, not 'A'"),
        ("flag: ¶maybe", "'flag' must be true or false, not 'maybe'"),
        ("activation: ¶tahn", "must be 'identity', 'tanh' or 'relu', not 'tahn'"),
        ("pair: ¶[1]", "'pair[1]' is missing"),
        ("pair: ¶[1, 2, 3]", "'pair' must be of length 2 or less, not 3"),
        ("pair: ¶1", "'pair' must be a list, not 1"),
        ("layers: [{units: 1}, ¶{}]", "'layers[1].units' is missing"),
        ("layers: [{units: 1, within: [{units: ¶x}]}]", "'layers[0].within[0].units' must be"),
        ("rounds: ¶odd", "'rounds' must be an integer, not a value of type object"),
        ("layers: [{¶unit: 1}]", "unknown key 'unit'; did you mean 'units'?"),
        ("table: {a: 1, b: ¶x}", "'table.b' must be an integer, not 'x'"),
        ("even: ¶3", "'even' must be a multiple of 2, not 3"),
        ("even: ¶2.5", "'even' must be an integer, not 2.5"),
    ],
)
def test_a_wrong_parameter_is_refused_where_it_stands(refuse_case, line, message):
    refuse_case(f"kind: toy\ndata: digits\n{line}", message)


def test_a_long_value_is_quoted_in_part(refuse_case):
    refuse_case(f"kind: toy\ndata: digits\nscale: ¶{'x' * 500}", f"not '{'x' * 58}…")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("¶nothing", "'data': no such dataset"),
        ("{name: gaussian, samples: ¶0}", "'data.samples' must be greater than 0"),
        ("{name: gaussian, ¶dimention: 3}", "unknown key 'dimention'; did you mean 'dimension'?"),
        ("{name: digits, ¶dimension: 3}", "unknown key 'dimension'; known: name, samples"),
        ("{name: gaussian, dimension: ¶x, }", "'data.dimension' must be an integer, not 'x'"),
    ],
)
def test_a_field_validated_by_a_registry_keeps_its_places(refuse_case, data, message):
    refuse_case(f"kind: toy\ndata: {data}", message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("even: ¶'2'", "'even' must be an integer, not '2'"),
        ("even: ¶'2.0'", "'even' must be an integer, not '2.0'"),
        ("steps: ¶true", "'steps' must be an integer, not true"),
        ("scale: ¶'1e-3'", "'scale' must be a number, not '1e-3'"),
        ("network: {widths: [¶true, 2]}", "'network.widths[0]' must be an integer, not true"),
        ("table: {a: ¶'1'}", "'table.a' must be an integer, not '1'"),
    ],
)
def test_numbers_are_written_as_numbers(refuse_case, line, message):
    refuse_case(f"kind: toy\ndata: digits\n{line}", message)


def test_a_model_may_convert_what_is_not_a_number_itself(load_case):
    case = load_case("kind: toy", "data: digits", "rounds: ten", "flag: true")
    assert (case.parameters.rounds, case.parameters.flag) == (10, True)


def test_a_missing_parameter_is_placed_at_its_case(refuse):
    refuse("suite: s\ncases:\n  - ¶id: a\n    kind: toy", "'data' is missing")


def test_a_misspelt_required_key_is_one_problem(refuse_case):
    refuse_case("kind: toy\n¶dat: digits", "unknown key 'dat'; did you mean 'data'?")


def test_only_the_nearest_member_of_a_union_complains(refuse_case):
    refuse_case(
        "kind: toy\ndata: digits\nnetwork: {¶hiden_layers: 5, width: ¶0}",
        "did you mean 'hidden_layers'?",
        "'network.width' must be greater than 0",
    )


def test_all_problems_of_a_file_come_at_once_in_reading_order(refuse):
    refuse(
        "suite: s\n¶descripton: x\ncases:\n"
        "  - {id: b, kind: toy, ¶dat: 1, scale: ¶x}\n"
        "  - {id: ¶b, kind: ¶unheard}\n"
        "  - {id: c, kind: ordered, low: ¶x, matrix: {high: ¶3}}",
        "did you mean 'description'?",
        "unknown key 'dat'",
        "'scale'",
        "the id 'b' is taken",
        "unknown case kind",
        "'low'",
        "the axis 'high'",
    )


# Matrix


def test_a_wrong_value_of_an_axis_is_refused_where_it_stands_and_once(refuse_case):
    refuse_case(
        "kind: ordered\nlow: ¶y\nmatrix: {¶lo: [1], high: [1, ¶x, 2], seed: [0, ¶-1]}",
        "'low' must be an integer",
        "unknown key 'lo'; did you mean 'low'?",
        "'high' must be an integer, not 'x'",
        "'seed' must be",
    )


def test_a_rule_broken_in_some_cases_of_a_matrix_names_the_first(refuse):
    refuse(
        "suite: s\ncases:\n  - ¶id: a\n    kind: ordered\n    matrix: {low: [0, 1, 2, 3]}",
        "low must not exceed high (in a[low=2])",
    )


def test_a_rule_broken_without_a_matrix_names_no_variant(write):
    with pytest.raises(SuiteError, match=r"low must not exceed high$"):
        load_suite(write("suite: s\ncases: [{id: a, kind: ordered, low: 2}]"))


# Several suites


def test_several_suites_are_loaded_in_order(write):
    paths = [write(f"suite: {name}\ncases: [{{id: a, kind: ordered}}]", name) for name in "zxy"]
    assert [suite.name for suite in load_suites(paths)] == ["z", "x", "y"]


def test_the_problems_of_all_suites_come_at_once_suite_by_suite(write, tmp_path):
    one = write("suite: s\n\n\ncases: []", "one")
    two = write("", "two")
    three = write("suite: 3\ncases: []", "three")
    with pytest.raises(SuiteError) as caught:
        load_suites([two, one, three])
    assert [problem.at.file.removeprefix(f"{tmp_path}/") for problem in caught.value.problems] == [
        "two",
        "one",
        "three",
        "three",
    ]


def test_cases_that_differ_only_in_who_computes_share_their_randomness(load):
    text = """\
suite: s
cases:
  - id: a
    kind: ordered
    low: 0
    high: 3
    matrix: {dtype: [float32, float64], low: [1, 2]}
"""
    cases = load(text).cases
    assert [case.id for case in cases][:2] == ["a[dtype=float32,low=1]", "a[dtype=float32,low=2]"]
    assert [case.randomness for case in cases] == 2 * ["a[low=1]", "a[low=2]"]


def test_a_suite_given_twice_is_refused_however_its_path_is_written(write):
    path = write("suite: s\ncases: [{id: a, kind: ordered}]")
    with pytest.raises(SuiteError) as caught:
        load_suites([path, path.parent / ".." / path.parent.name / path.name])
    (problem,) = caught.value.problems
    assert problem.message == "the suite is given twice; give it once"


def test_two_suites_of_one_name_are_refused_with_both_files(write):
    text = "suite: s\ncases: [{id: a, kind: ordered}]"
    one, two = write(text, "one.yaml"), write(text, "two.yaml")
    with pytest.raises(SuiteError) as caught:
        load_suites([one, two])
    (problem,) = caught.value.problems
    assert problem.at.file == str(two)
    assert problem.message.startswith(f"its name 's' is also that of {one}; rename one of them")
