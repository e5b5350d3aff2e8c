from math import prod

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pcbench.suite import SuiteError
from pcbench.suite.expand import IDENTITY, count, read_axes, variants
from pcbench.suite.grammar.layout import MAX_CASES
from pcbench.suite.yaml.node import Node
from pcbench.suite.yaml.problems import Position, Problems
from tests.helpers.toy_suites import outline
from tests.suite.suite_fakes import MARK

AT = Position("here")


def node(value):
    if isinstance(value, dict):
        return Node({key: node(each) for key, each in value.items()}, AT, AT)
    if isinstance(value, list):
        return Node([node(each) for each in value], AT, AT)
    return Node(value, AT, AT)


def expand(matrix):
    problems = Problems()
    axes = read_axes(node(matrix), problems)
    assert not problems
    return axes, list(variants("c", axes))


def ids(matrix):
    return [variant.id for variant in expand(matrix)[1]]


def test_the_first_axis_varies_slowest():
    assert ids({"a": [1, 2], "b": ["x", "y"]}) == [
        "c[a=1,b=x]",
        "c[a=1,b=y]",
        "c[a=2,b=x]",
        "c[a=2,b=y]",
    ]


@pytest.mark.parametrize(
    ("matrix", "labels"),
    [
        ({"network.width": [3]}, "width=3"),
        ({"data.name": ["mnist1d"]}, "data=mnist1d"),
        ({"name": ["x"]}, "name=x"),
        ({"a.width": [1], "b.width": [2]}, "a.width=1,b.width=2"),
        ({"data.name": ["x"], "other.data": [1], "z": [2]}, "data.name=x,other.data=1,z=2"),
        ({"widths": [[5, 5, 3]]}, "widths=5x5x3"),
        ({"widths": [[]], "m": [{}]}, "widths=[],m={}"),
        ({"w": [[[1, 2], [3]]]}, "w=1x2x3"),
        ({"data": [{"name": "x", "samples": 3}]}, "data=name:x+samples:3"),
        ({"lr": [1e-3], "on": [True], "off": [None]}, "lr=0.001,on=true,off=null"),
        ({"a": ["x, y=3"]}, 'a="x, y=3"'),
        ({"a": ["1"]}, 'a="1"'),
    ],
)
def test_labels(matrix, labels):
    assert ids(matrix) == [f"c[{labels}]"]


names = st.text("abc", min_size=1, max_size=2)
paths = st.lists(names, min_size=1, max_size=3).map(".".join)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
values = scalars | st.dictionaries(names, scalars, max_size=2)
matrices = st.dictionaries(
    paths,
    st.lists(values, min_size=1, max_size=4, unique_by=lambda each: node(each).label()),
    min_size=1,
    max_size=3,
).filter(lambda matrix: not {*IDENTITY} & {path.split(".")[0] for path in matrix})


@given(matrices)
def test_there_is_one_case_for_every_combination_each_with_its_own_id(matrix):
    axes, found = expand(matrix)
    assert len(found) == prod(map(len, matrix.values())) == count(axes)
    assert len({variant.id for variant in found}) == len(found)
    chosen = [tuple(value.label() for _, value in variant.choices) for variant in found]
    assert len(set(chosen)) == len(found)


@given(matrices)
def test_each_axis_runs_through_its_values_in_the_order_written(matrix):
    axes, found = expand(matrix)
    assert [axis.path for axis in axes] == [tuple(path.split(".")) for path in matrix]
    labels = [[value.label() for value in axis.values] for axis in axes]
    positions = [
        [row.index(value.label()) for row, (_, value) in zip(labels, variant.choices, strict=True)]
        for variant in found
    ]
    assert positions == sorted(positions)


def test_a_case_without_a_matrix_is_a_case(load):
    (case,) = load("suite: s\ncases: [{id: only, kind: ordered}]").cases
    assert case.id == "only"


def test_an_axis_sets_its_parameter_and_adds_mappings_on_the_way(load):
    suite = load(
        "suite: s\ncases:\n"
        "  - {id: a, kind: toy, data: digits, matrix: {inference.engine: [exact, gradient]}}"
    )
    assert [case.parameters.inference.engine for case in suite.cases] == ["exact", "gradient"]


def test_an_axis_can_go_through_a_name_that_stands_for_a_mapping(load):
    suite = load(
        "suite: s\ncases:\n  - {id: a, kind: toy, data: digits, matrix: {data.samples: [3, 4]}}"
    )
    assert [case.parameters.data.samples for case in suite.cases] == [3, 4]
    assert {case.parameters.data.name for case in suite.cases} == {"digits"}


def test_a_whole_mapping_goes_in_before_its_entries_whatever_the_order(load):
    suite = load(
        "suite: s\ncases:\n"
        "  - {id: a, kind: toy, matrix: {data.samples: [3], data: [digits, {name: gaussian}]}}"
    )
    assert [case.parameters.data.name for case in suite.cases] == ["digits", "gaussian"]
    assert {case.parameters.data.samples for case in suite.cases} == {3}


def test_run_settings_can_be_axes(load):
    suite = load("suite: s\ncases: [{id: a, kind: ordered, matrix: {seed: [0, 1, 2]}}]")
    assert [case.seed for case in suite.cases] == [0, 1, 2]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("¶[low]", "'matrix' must be a mapping from parameters to lists of values, not a list"),
        ("¶{}", "not an empty one"),
        ("¶~", "not null"),
        ("{low: ¶3}", "the axis 'low' must be a list of values, not 3"),
        ("{low: ¶[]}", "not an empty one"),
        ("{low: ¶{a: [1]}}", "not a mapping"),
        ("{low: [1, 0, ¶1]}", "the axis 'low' already has 1 at "),
        ("{low: [[5, 5], ¶5x5]}", "already has 5x5"),
        ("{low: [{a: 1}, ¶{a: 1}]}", "already has a:1"),
        ("{¶low..a: [1]}", "is not a path: write names joined by single dots"),
        ("{¶'': [1]}", "is not a path"),
        ("{¶id: [1]}", "an axis cannot vary 'id'"),
        ("{¶kind.x: [1]}", "an axis cannot vary 'kind'"),
        ("{¶matrix: [1]}", "an axis cannot vary 'matrix'"),
        ("{¶figure: ['5', '6']}", "an axis cannot vary 'figure'"),
        ("{¶sizes.full: [1]}", "an axis cannot vary 'sizes'"),
    ],
)
def test_a_matrix_that_is_not_valid_is_refused(refuse_case, matrix, message):
    refuse_case(f"kind: ordered\nmatrix: {matrix}", message, with_kinds=False)


def test_an_axis_through_something_without_keys_is_refused_once(refuse_case):
    refuse_case(
        "kind: ordered\nlow: 0\nmatrix: {¶low.x: [1, 2], high: [1, 2]}",
        "the axis 'low.x' leads through 0, which has no keys",
    )


def test_the_number_of_cases_is_bounded_before_any_is_made(refuse):
    axis = list(range(100))
    matrix = yaml.safe_dump(dict.fromkeys("abcdefgh", axis), default_flow_style=True, width=1e9)
    text = f"suite: s\ncases:\n  - {MARK}{{id: a, kind: ordered, matrix: {matrix.strip()}}}"
    refuse(text, f"over {MAX_CASES:,} cases", with_kinds=False)


def test_as_many_cases_as_are_allowed_are_made(write):
    matrix = f"{{low: {list(range(100))}, high: {list(range(MAX_CASES // 100))}}}"
    path = write(f"suite: s\ncases: [{{id: a, kind: ordered, matrix: {matrix}}}]")
    assert len(outline(path).cases) == MAX_CASES
    path = write(f"{path.read_text()[:-1]}, {{id: b, kind: ordered}}]")
    with pytest.raises(SuiteError, match=r"with this case .* give --allow-large to run"):
        outline(path)
    assert len(outline(path, allow_large=True).cases) == MAX_CASES + 1


def test_no_suite_makes_a_million_cases_or_more(refuse):
    axes = {key: list(range(100)) for key in "abcdefgh"}
    matrix = yaml.safe_dump(axes, default_flow_style=True, width=1e9).strip()
    text = f"suite: s\ncases:\n  - {MARK}{{id: a, kind: ordered, matrix: {matrix}}}"
    refuse(text, "makes over 1,000,000 cases; split it", allow_large=True)


def test_included_suites_count(write):
    matrix = f"{{low: {list(range(100))}, high: {list(range(MAX_CASES // 200))}}}"
    for name in "ab":
        write(
            f"suite: {name}\ncases: [{{id: {name}, kind: ordered, matrix: {matrix}}}]",
            f"{name}.yaml",
        )
    path = write("suite: s\ninclude: [a.yaml, b.yaml]")
    assert len(outline(path).cases) == MAX_CASES
    path = write("suite: s\ninclude: [a.yaml, b.yaml]\ncases: [{id: c, kind: ordered}]")
    with pytest.raises(SuiteError, match="over 10,000 cases"):
        outline(path)


def test_equal_ids_name_both_positions(refuse, tmp_path):
    refuse(
        "suite: s\ncases:\n  - {id: a, kind: ordered}\n  - {id: ¶a, kind: ordered}",
        f"the id 'a' is taken at {tmp_path / 'suite.yaml'}:3:10",
    )


# What varies together, and what is left out


def test_what_is_zipped_varies_together_and_last(load):
    suite = load(
        "suite: s\ncases:\n"
        "  - {id: a, kind: ordered, matrix: {seed: [0, 1]}, zip: {low: [1, 2], high: [3, 3]}}"
    )
    assert [case.id for case in suite.cases] == [
        f"a[seed={seed},low={low},high=3]" for seed in (0, 1) for low in (1, 2)
    ]
    assert [case.parameters.low for case in suite.cases] == [1, 2, 1, 2]


def test_what_is_excluded_makes_no_case_at_any_size(load):
    text = (
        "suite: s\ncases:\n"
        "  - id: a\n    kind: ordered\n    matrix: {low: [1, 2], high: [3, 4]}\n"
        "    exclude: [{low: 2, high: 3}, {high: 9}]\n"
        "    sizes: {full: {matrix: {high: [3, 9]}}}\n"
    )
    ids = [case.id for case in load(text).cases]
    assert ids == ["a[low=1,high=3]", "a[low=1,high=4]", "a[low=2,high=4]"]
    assert [case.id for case in load(text, size="full").cases] == ["a[low=1,high=3]"]


def test_an_override_of_an_axis_lifts_what_is_excluded_by_it(load):
    text = (
        "suite: s\ncases:\n"
        "  - {id: a, kind: ordered, matrix: {low: [1, 2], high: [3, 4]}, exclude: [{low: 2}]}"
    )
    suite = load(text, overrides=["high=7"])
    assert [case.id for case in suite.cases] == ["a[low=1]"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("zip: {low: [1, 2], ¶high: [3]}", "it has 1 values, and 'low' has 2"),
        ("zip: {low: [1, ¶1], high: [3, 3]}", "has the same values here as in an earlier place"),
        ("matrix: {low: [0]}\nzip: {¶low: [1]}", "'low' varies in 'matrix' already"),
        ("zip: ¶[low]", "'zip' must be a mapping from parameters to lists of values, not a list"),
        (
            "matrix: {low: [0, 1]}\nexclude: [{¶hihg: 1}]",
            "'exclude' names 'hihg', which no axis of the case varies",
        ),
        ("matrix: {low: [0, 1]}\nexclude: [{low: 1}, {low: ¶7}]", "never has the value 7"),
        ("matrix: {low: [0, 1]}\nexclude: [{low: ¶true}]", "never has the value true"),
        ("matrix: {low: [0, 1]}\n¶exclude: [{low: 0}, {low: 1}]", "leaves no combination"),
        ("matrix: {low: [0, 1]}\nexclude: ¶{low: 0}", "'exclude' must be a list of combinations"),
        ("matrix: {low: [0, 1]}\nexclude: [¶low]", "must be a mapping from axes to values"),
    ],
)
def test_what_cannot_be_zipped_or_excluded_is_refused_where_it_stands(refuse_case, lines, message):
    refuse_case(f"kind: ordered\n{lines}", message)


def test_many_combinations_and_rules_take_no_time(load):
    axis = list(range(90))
    rules = ", ".join(f"{{low: {-n}, seed: {n}}}" for n in range(90))
    text = (
        "suite: s\ncases:\n  - id: a\n    kind: ordered\n"
        f"    matrix: {{low: {[-n for n in axis]}, seed: {axis}}}\n    exclude: [{rules}]\n"
    )
    assert len(outline_of(load, text)) == 90 * 89


def outline_of(load, text):
    return load(text, select="not seed=0 or seed=0").cases


def test_a_size_may_repeat_values_of_what_is_zipped(load):
    text = (
        "suite: s\ncases:\n  - id: a\n    kind: ordered\n    zip: {low: [1, 2], high: [3, 3]}\n"
        "    sizes: {full: {matrix: {low: [1, 2, 3], high: [5, 5, 5]}}}\n"
    )
    assert [case.parameters.high for case in load(text, size="full").cases] == [5, 5, 5]
