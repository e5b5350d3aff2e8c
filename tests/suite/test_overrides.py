import pytest

from pcbench.suite import Setting, SuiteError

SUITE = """\
suite: s
defaults: {data: {samples: 8}}
cases:
  - {id: a, kind: toy, data: digits, matrix: {network.widths: [[3], [4]], scale: [1, 2]}}
  - {id: b, kind: toy, data: {name: gaussian, dimension: 5}, network: {hidden_layers: 1, width: 2}}
  - {id: c, kind: ordered}
"""


def refusal(load, *overrides, text=SUITE):
    """The problems, without what names the option."""
    with pytest.raises(SuiteError) as caught:
        load(text, overrides=overrides)
    assert all(problem.at.file.startswith("--set ") for problem in caught.value.problems)
    assert all(problem.at.line is None for problem in caught.value.problems)
    return [problem.message for problem in caught.value.problems]


def test_every_case_takes_a_run_setting(load):
    suite = load(SUITE, overrides=["seed=7", "backend=numpy", "dtype=float32", "device=cuda"])
    assert {(c.seed, c.backend, c.dtype, c.device) for c in suite.cases} == {
        (7, "numpy", "float32", "cuda")
    }


def test_a_case_knows_which_run_settings_are_not_the_suites_own(load):
    suite = load(
        SUITE.replace("kind: ordered", "kind: ordered, dtype: float32"),
        overrides=["dtype=float32", "data.samples=3"],
    )
    assert {case.insisted for case in suite.cases} == {frozenset({"dtype"})}
    assert {case.insisted for case in load(SUITE).cases} == {frozenset()}


def test_only_cases_that_have_a_parameter_take_it(load):
    suite = load(SUITE, overrides=["data.samples=3", "high=9"])
    assert [case.parameters.data.samples for case in suite.cases[:-1]] == [3] * 5
    assert suite.cases[-1].parameters.high == 9


def test_what_a_case_has_can_depend_on_what_it_says(load):
    suite = load(SUITE, overrides=["data.dimension=9", "network.width=7"])
    assert [case.parameters.data.name for case in suite.cases[:-1]] == ["digits"] * 4 + ["gaussian"]
    assert suite.cases[4].parameters.data.dimension == 9
    assert suite.cases[4].parameters.network.width == 7
    assert suite.cases[0].parameters.network.widths == [3]


def test_a_default_that_is_not_written_can_be_set(load):
    suite = load(SUITE, overrides=["label=abc", "inference={engine: gradient}"])
    assert {case.parameters.label for case in suite.cases[:-1]} == {"abc"}
    assert {case.parameters.inference.tolerance for case in suite.cases[:-1]} == {1e-6}


def test_an_override_replaces_its_axis(load):
    suite = load(SUITE, overrides=["scale=5"])
    assert [case.id for case in suite.cases] == ["a[widths=3]", "a[widths=4]", "b", "c"]
    assert {case.parameters.scale for case in suite.cases[:-1]} == {5.0}


def test_an_override_of_a_mapping_replaces_the_axes_within(load):
    suite = load(SUITE, overrides=["network={widths: [9]}"])
    assert [case.id for case in suite.cases] == ["a[scale=1]", "a[scale=2]", "b", "c"]
    assert {tuple(case.parameters.network.widths) for case in suite.cases[:-1]} == {(9,)}


def test_an_override_within_an_axis_leaves_the_axis(load):
    text = "suite: s\ncases: [{id: a, kind: toy, matrix: {data: [digits, gaussian]}}]"
    suite = load(text, overrides=["data.samples=2"])
    assert [case.id for case in suite.cases] == ["a[data=digits]", "a[data=gaussian]"]
    assert {case.parameters.data.samples for case in suite.cases} == {2}


def test_the_last_of_equal_overrides_holds(load):
    assert load(SUITE, overrides=["seed=1", "seed=2"]).cases[0].seed == 2


def test_an_override_can_complete_a_case(load):
    text = "suite: s\ncases: [{id: a, kind: toy}]"
    assert load(text, overrides=["data=digits"]).cases[0].parameters.data.name == "digits"


def test_values_are_yaml_as_in_a_suite(load):
    suite = load(SUITE, overrides=["scale=1e-3", "label=no", "pair=[1, 2]", "limit=null"])
    parameters = suite.cases[0].parameters
    assert (parameters.scale, parameters.label, parameters.pair) == (1e-3, "no", (1.0, 2.0))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "network.widht=3",
            "no case has the parameter 'network.widht'; did you mean 'network.width'?",
        ),
        ("sede=3", "no case has the parameter 'sede'; did you mean 'seed'?"),
        ("data.dimensio=3", "did you mean 'data.dimension'?"),
        ("high.x=3", "'high' must be an integer, not a mapping"),
        ("seed=x", "'seed' must be an integer of at least 0, not 'x'"),
        ("seed.x=1", "'seed' must be an integer"),
        ("network.width=0", "'network.width' must be greater than 0, not 0"),
        ("data.samples=many", "'data.samples' must be an integer, not 'many'"),
        ("seed", "write it as PATH=VALUE"),
        ("=3", "write it as PATH=VALUE"),
        ("", "write it as PATH=VALUE"),
        ("a..b=3", "write it as PATH=VALUE"),
        ("seed=", "there is no value; write seed=null for none"),
        ("seed=# comment", "there is no value"),
        ("seed=[1", "closing ']' is missing"),
        ("seed=!!set {}", "the tag '!!set' is refused"),
        ("seed=\udcff", "cannot stand in YAML"),
        ("table={a: 1, a: 2}", "already given"),
        ("id=x", "'id' cannot be set"),
        ("kind=toy", "'kind' cannot be set"),
        ("matrix.seed=[1]", "'matrix' cannot be set"),
        ("figure=5", "'figure' cannot be set"),
        ("sizes.full.seed=1", "'sizes' cannot be set"),
    ],
)
def test_a_wrong_override_is_refused_at_the_option(load, override, message):
    (found,) = refusal(load, override)
    assert message in found


def test_all_malformed_overrides_are_told_at_once(load):
    assert len(refusal(load, "a", "id=3", "seed=1")) == 2


def test_a_part_of_a_default_that_is_a_choice_is_not_offered_as_its_own_remedy(load):
    text = "suite: s\ncases: [{id: a, kind: toy, data: digits}]"
    (found,) = refusal(load, "inference.tolerance=1", text=text)
    assert "'inference.tolerance' is a part of 'inference', which no case writes" in found


def test_overrides_no_case_has_are_told_at_once(load):
    assert len(refusal(load, "aa=1", "bb=2", "seed=1")) == 2


def test_an_override_passes_by_cases_where_the_path_leads_through_a_number(load):
    text = (
        "suite: s\ncases:\n  - {id: a, kind: ordered, low: 0}\n  - {id: b, kind: toy, data: digits}"
    )
    (found,) = refusal(load, "low.x=1", text=text)
    assert "no case has the parameter 'low.x'" in found


def test_an_unknown_kind_is_not_blamed_on_the_override(refuse):
    refuse(
        "suite: s\ncases: [{id: a, kind: ¶tyo, data: digits}]",
        "unknown case kind",
        overrides=["scale=3"],
    )


def test_an_override_reaches_only_the_selected_cases(load):
    text = "suite: s\ncases: [{id: a, kind: ordered, low: 0}, {id: b, kind: ordered, low: 0}]"
    (case,) = load(text, select="b", overrides=["low=1"]).cases
    assert (case.id, case.parameters.low) == ("b", 1)


def test_cases_are_selected_by_the_identifier_that_they_have_before_an_override(load):
    text = "suite: s\ncases: [{id: a, kind: ordered, matrix: {low: [0, 1]}}]"
    (case,) = load(text, select="low=1", overrides=["low=2", "high=9"]).cases
    assert (case.id, case.parameters.low) == ("a", 2)


@pytest.mark.parametrize(
    ("overrides", "at"),
    [
        (["low=5"], "--set low=5"),
        (["seed=3", "low=5", "scale=2"], "--set low=5"),
        (["low=5", "high=3"], "--set low=5"),  # as it would be with the file's high
        (["low=1", "high=0"], "--set low=1 and --set high=0"),
        ([Setting("low", 5, "settings={'low': 5}"), "high=2"], "settings={'low': 5}"),
    ],
)
def test_a_broken_rule_between_parameters_is_told_at_the_overrides_that_break_it(
    load, overrides, at
):
    with pytest.raises(SuiteError) as caught:
        load(SUITE, overrides=overrides)
    assert str(caught.value) == f"{at}: low must not exceed high"


def test_a_rule_that_an_override_breaks_in_place_of_an_axis_is_told_at_the_override(load):
    text = "suite: s\ncases: [{id: a, kind: ordered, matrix: {low: [0, 1]}}]"
    assert refusal(load, "seed=1", "low=2", text=text) == ["low must not exceed high"]


def test_what_is_wrong_without_an_override_is_told_in_the_file(refuse):
    text = "suite: s\ncases: [¶{id: a, kind: ordered, low: 2}]"
    refuse(text, "low must not exceed high", overrides=["seed=1"])
    refuse(text, "low must not exceed high", overrides=["low=3"])
