import jsonschema
import pytest
import yaml

from pcbench.suite import suite_schema


@pytest.fixture
def complaints():
    """Return the places in a case, given as YAML, of which the schema complains."""
    validator = jsonschema.Draft202012Validator(suite_schema())

    def complaints(case):
        suite = {"suite": "s", "cases": [yaml.safe_load(case)]}
        return [
            error.json_path.removeprefix("$.cases[0]") for error in validator.iter_errors(suite)
        ]

    return complaints


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(suite_schema())


@pytest.mark.parametrize(
    "case",
    [
        "{id: a, kind: ordered, low: 3}",
        "{id: a, kind: ordered, seed: 3, dtype: float32, backend: torch, device: cuda}",
        "{id: a, kind: ordered, matrix: {low: [1, 2]}}",
        '{id: a, kind: ordered, figure: "5"}',
        "{id: a, kind: ordered, sizes: {full: {low: 1, matrix: {high: [1, 2]}}}}",
        "{id: a, kind: ordered, seeds: 3, sizes: {full: {seeds: 5}}}",
        "{id: a, kind: ordered, tolerance_factor: {x: {factor: 2, reason: y}}}",
        "{id: a, kind: toy}",
        "{id: a, kind: toy, data: digits, network: {width: 3}}",
        "{id: a, kind: toy, data: {samples: 3}, inference: {engine: gradient, tolerance: 0.1}}",
        "{id: a, kind: toy, inference: {}}",
        "{id: a, kind: broken, anything: 3}",
    ],
)
def test_what_may_load_is_accepted(complaints, case):
    assert complaints(case) == []


@pytest.mark.parametrize(
    ("case", "place"),
    [
        ("{id: a, kind: nothing}", ".kind"),
        ("{id: a b, kind: ordered}", ".id"),
        ("{kind: ordered}", ""),
        ("{id: a, kind: ordered, hihg: 3}", ""),
        ("{id: a, kind: ordered, low: x}", ".low"),
        ("{id: a, kind: ordered, seed: -1}", ".seed"),
        ("{id: a, kind: broken, dtype: half}", ".dtype"),
        ("{id: a, kind: ordered, matrix: {low: 1}}", ".matrix.low"),
        ("{id: a, kind: ordered, matrix: {low: []}}", ".matrix.low"),
        ("{id: a, kind: ordered, figure: 5}", ".figure"),
        ("{id: a, kind: ordered, sizes: {}}", ".sizes"),
        ("{id: a, kind: ordered, sizes: {quick: {low: 1}}}", ".sizes"),
        ("{id: a, kind: ordered, sizes: {full: 35}}", ".sizes.full"),
        ("{id: a, kind: ordered, sizes: {full: {matrix: {low: 1}}}}", ".sizes.full.matrix.low"),
        ("{id: a, kind: toy, network: {widht: 3}}", ".network"),
        ("{id: a, kind: ordered, sizes: {full: {tags: [x]}}}", ".sizes.full"),
        ("{id: a, kind: ordered, sizes: {full: {zip: {low: [1]}}}}", ".sizes.full"),
        ("{id: a, kind: ordered, seeds: 0}", ".seeds"),
        ("{id: a, kind: ordered, tolerance_factor: {x: {factor: 2}}}", ".tolerance_factor.x"),
    ],
)
def test_what_cannot_load_is_not(complaints, case, place):
    assert complaints(case) == [place]


@pytest.mark.parametrize("suite", [{}, {"suite": "s"}, {"suite": "s", "cases": []}, [], "x"])
def test_a_wrong_layout_is_not_accepted(suite):
    assert not jsonschema.Draft202012Validator(suite_schema()).is_valid(suite)


def test_each_kind_is_described():
    assert suite_schema()["$defs"]["toy"]["description"] == "Everything a model may hold"
