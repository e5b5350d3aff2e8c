import pytest

from pcbench.suite import SuiteError, load_suites, outlines
from pcbench.suite.grammar.layout import MAX_CASES
from pcbench.suite.grammar.schema import MAX_FIGURE
from tests.helpers.toy_suites import load_suite, outline

SUITE = """\
suite: s
defaults: {data: {samples: 8}}
cases:
  - id: a
    kind: toy
    data: digits
    scale: 1
    matrix: {network.widths: [[3], [4]], seed: [0, 1]}
    sizes:
      full: {scale: 2, data.samples: 9, matrix: {network.widths: [[4], [5], [6]]}}
      huge: {scale: 3}
  - {id: b, kind: ordered, figure: "9, 10", sizes: {full: {high: 5}}}
  - {id: c, kind: ordered}
"""


def parameters(suite, case_id):
    (found,) = (case.parameters for case in suite.cases if case.id == case_id)
    return found


# What a size changes


def test_a_case_without_a_size_asked_for_is_as_written(load):
    suite = load(SUITE)
    assert [case.id for case in suite.cases][:4] == [
        f"a[widths={width},seed={seed}]" for width in (3, 4) for seed in (0, 1)
    ]
    assert parameters(suite, "a[widths=3,seed=0]").scale == 1
    assert parameters(suite, "b").high == 1
    assert load(SUITE, size="quick") == suite
    assert (suite.size, suite.sizes) == ("quick", ("quick", "full", "huge"))


def test_a_size_sets_values_at_dotted_paths_and_leaves_the_rest(load):
    suite = load(SUITE, size="full")
    found = parameters(suite, "a[widths=4,seed=1]")
    assert (found.scale, found.data.samples, found.data.name) == (2, 9, "digits")
    assert parameters(suite, "b").high == 5
    assert (suite.size, suite.sizes) == ("full", ("quick", "full", "huge"))


def test_a_size_gives_an_axis_other_values_and_leaves_the_other_axes(load):
    assert [case.id for case in load(SUITE, size="full").cases][:6] == [
        f"a[widths={width},seed={seed}]" for width in (4, 5, 6) for seed in (0, 1)
    ]


def test_a_case_that_does_not_have_the_size_is_as_written(load):
    suite = load(SUITE, size="huge")
    assert parameters(suite, "a[widths=3,seed=0]").scale == 3
    assert parameters(suite, "b").high == 1
    assert parameters(suite, "c") == parameters(load(SUITE), "c")


def test_a_value_replaces_what_is_written_and_the_whole_goes_in_before_its_parts(load):
    case = (
        "{id: a, kind: toy, data: digits, network: {widths: [3]},"
        " sizes: {full: {network.width: 7, network: {hidden_layers: 2, width: 5}}}}"
    )
    (found,) = load(f"suite: s\ncases: [{case}]", size="full").cases
    network = found.parameters.network
    assert (network.hidden_layers, network.width) == (2, 7)


def test_a_size_wins_over_defaults_and_an_override_over_the_size(load):
    assert parameters(load(SUITE, size="full"), "a[widths=4,seed=0]").data.samples == 9
    suite = load(SUITE, size="full", overrides=["data.samples=2", "network.widths=[1]"])
    assert [case.id for case in suite.cases] == ["a[seed=0]", "a[seed=1]", "b", "c"]
    found = parameters(suite, "a[seed=0]")
    assert (found.data.samples, found.network.widths, found.scale) == (2, [1], 2)


def test_run_settings_have_sizes_too(load):
    case = "{id: a, kind: ordered, sizes: {full: {dtype: float32, seed: 7}}}"
    (found,) = load(f"suite: s\ncases: [{case}]", size="full").cases
    assert (found.dtype, found.seed) == ("float32", 7)


def test_a_size_changes_no_name_of_randomness(load):
    quick, full = load(SUITE).cases, load(SUITE, size="full").cases
    names = {case.id: case.randomness for case in quick}
    shared = [case for case in full if case.id in names]
    assert len(shared) == 4
    assert all(case.randomness == names[case.id] for case in shared)


def test_an_axis_keeps_its_label_where_a_size_gives_values_to_it_alone(load):
    case = (
        "{id: a, kind: toy, data: digits, matrix: {data.name: [digits], table.data: [1, 2]},"
        " sizes: {full: {matrix: {table.data: [3]}}}}"
    )
    (found,) = load(f"suite: s\ncases: [{case}]", size="full").cases
    assert found.id == "a[data.name=digits,table.data=3]"


def test_cases_are_selected_by_the_identifiers_of_their_size(load):
    suite = load(SUITE, size="full", select="widths=6")
    assert [case.id for case in suite.cases] == ["a[widths=6,seed=0]", "a[widths=6,seed=1]"]
    with pytest.raises(SuiteError, match="no case matches"):
        load(SUITE, select="widths=6")


def test_an_outline_at_a_size_lists_what_loading_at_it_makes(write, load):
    for size in ("quick", "full", "huge"):
        found, suite = outline(write(SUITE), size=size), load(SUITE, size=size)
        assert [(each.id, each.kind, each.figure) for each in found.cases] == [
            (case.id, case.kind, case.figure) for case in suite.cases
        ]
        assert found.sizes == suite.sizes


# Sizes that nobody has


def test_a_size_that_no_case_has_is_refused_with_those_that_there_are(write):
    path = write(SUITE)
    for read in (load_suite, outline):
        with pytest.raises(SuiteError) as caught:
            read(path, size="ful l")
        assert str(caught.value) == (
            "--size 'ful l': no case has this size; there are quick, full, huge"
        )


def test_where_there_are_no_sizes_that_is_said(write):
    path = write("suite: s\ncases: [{id: a, kind: ordered}]")
    with pytest.raises(SuiteError, match="--size full: no case has this size; there is only quick"):
        load_suite(path, size="full")


def test_one_suite_with_the_size_will_do(write):
    paths = [write("suite: t\ncases: [{id: a, kind: ordered}]", "t.yaml"), write(SUITE)]
    assert [suite.size for suite in load_suites(paths, size="huge")] == ["huge", "huge"]
    assert [len(found.cases) for found in outlines(paths, size="huge")] == [1, 6]


def test_a_suite_that_cannot_be_read_is_told_before_its_sizes_are_missed(write):
    with pytest.raises(SuiteError, match="the file is empty") as caught:
        load_suite(write(""), size="full")
    assert len(caught.value.problems) == 1


# What is wrong with a size


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ("¶[full]", "'sizes' must be a mapping from names to what they set, not a list"),
        ("¶{}", "not an empty one"),
        ("¶~", "not null"),
        ("{¶quick: {low: 1}}", "'quick' is the case as written; set there what it is to be"),
        ("{¶'a b': {low: 1}}", "the size 'a b' must be named by letters, digits"),
        ("{full: ¶35}", "the size 'full' must be a mapping from parameters to values, not 35"),
        ("{full: ¶{}}", "not an empty one"),
        ("{full: {¶low..a: 1}}", "'low..a' is not a path: write names joined by single dots"),
        ("{full: {¶id: b}}", "a size cannot set 'id'; write a case of its own"),
        ("{full: {¶kind: toy}}", "a size cannot set 'kind'"),
        ("{full: {¶figure: x}}", "a size cannot set 'figure'"),
        ("{full: {¶sizes.x: 1}}", "a size cannot set 'sizes'"),
        ("{full: {¶matrix.high: [1]}}", "a size cannot set 'matrix'"),
        ("{full: {matrix: ¶3}}", "'matrix' must be a mapping from parameters to lists of values"),
        ("{full: {matrix: {high: ¶3}}}", "the axis 'high' must be a list of values, not 3"),
        (
            "{full: {matrix: {¶low: [3]}}}",
            "has no axis 'low' to which the size 'full' could give other values; known: high",
        ),
        (
            "{full: {¶high: 9}}",
            "the matrix varies 'high', so the size 'full' cannot set 'high'; give it "
            "'matrix: {high: [...]}' instead",
        ),
        (
            "{full: {¶high.x: 9}}",
            "the matrix varies 'high', so the size 'full' cannot set 'high.x'",
        ),
    ],
)
def test_a_size_that_is_not_valid_is_refused(refuse_case, sizes, message):
    refuse_case(
        f"kind: ordered\nmatrix: {{high: [1, 2]}}\nsizes: {sizes}", message, with_kinds=False
    )


def test_a_matrix_in_a_size_of_a_case_without_one_is_refused(refuse_case):
    refuse_case(
        "kind: ordered\nsizes: {full: {matrix: {¶low: [0]}}}",
        "the case's matrix has no axis 'low' to which the size 'full' could give other values; "
        "set the parameter itself",
    )


@pytest.mark.parametrize("size", ["quick", "full", "huge"])
def test_every_size_is_checked_whichever_is_asked_for(refuse, size):
    refuse(
        "suite: s\ncases:\n"
        "  - {id: a, kind: toy, data: digits, sizes: {full: {¶activaton: tanh, scale.x: ¶1},\n"
        "     huge: {scale: ¶11}}}\n"
        "  - {id: b, kind: ordered, low: 0, sizes: {full: {seed: ¶x, ¶low.x: 1}}}\n"
        "  - ¶{id: c, kind: ordered, matrix: {low: [0, 1]}, sizes: {full: {matrix: {low: [3]}}}}",
        "unknown key 'activaton'; did you mean 'activation'? (at size full)",
        "'scale' must be a number, not a mapping (at size full)",
        "'scale' must be at most 10, not 11 (at size huge)",
        "'seed' must be an integer of at least 0, not 'x' (at size full)",
        "in the size 'full', 'low.x' leads through 0, which has no keys",
        "low must not exceed high (in c[low=3], at size full)",
        size=size,
    )


def test_what_is_wrong_as_written_is_told_once_and_without_a_size(refuse_case):
    refuse_case("kind: ordered\nlow: ¶x\nsizes: {full: {high: 2}}", "not 'x'", size="full")


def test_an_override_for_one_size_leaves_the_others_as_they_are_written(load):
    text = "suite: s\ncases: [{id: a, kind: ordered, low: 0, sizes: {full: {high: 9}}}]"
    assert load(text, size="full", overrides=["low=5"]).cases[0].parameters.low == 5
    with pytest.raises(SuiteError, match="low must not exceed high"):
        load(text, overrides=["low=5"])


def test_cases_of_all_sizes_together_are_bounded(write):
    axis = list(range(MAX_CASES // 2))
    case = f"{{id: a, kind: ordered, matrix: {{low: {axis}}}, sizes: {{full: {{high: 7}}}}}}"
    assert len(outline(write(f"suite: s\ncases: [{case}]")).cases) == len(axis)
    with pytest.raises(SuiteError, match="over 10,000 cases"):
        outline(write(f"suite: s\ncases: [{case}, {{id: b, kind: ordered}}]"))


# Figures


def test_a_case_names_its_figure_and_one_that_does_not_has_none(load):
    suite = load(SUITE)
    assert {case.id: case.figure for case in suite.cases if case.figure} == {"b": "9, 10"}
    assert {case.figure for case in suite.cases} == {"9, 10", ""}


def test_a_figure_changes_nothing_of_its_case(load):
    text = "suite: s\ncases: [{id: a, kind: ordered, FIGURE low: 0, matrix: {high: [1, 2]}}]"
    for without, case in zip(
        load(text.replace("FIGURE ", "")).cases,
        load(text.replace("FIGURE", 'figure: "5",')).cases,
        strict=True,
    ):
        assert case.figure == "5"
        assert (case.id, case.randomness) == (without.id, without.randomness)
        assert case.parameters == without.parameters


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("5", '\'figure\' must be a string, such as "5" or "9, 10", not 5'),
        ("[5, 11]", "not a list"),
        ("~", "not null"),
        ("''", f"'figure' must be 1 to {MAX_FIGURE} printable characters, not ''"),
        ("'  '", "printable characters"),
        (r'"5\n"', "printable characters"),
        ("x" * (MAX_FIGURE + 1), "printable characters"),
    ],
)
def test_a_figure_that_is_not_valid_is_refused(refuse_case, figure, message):
    refuse_case(f"kind: ordered\nfigure: ¶{figure}", message, with_kinds=False)
