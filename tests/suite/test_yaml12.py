import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcbench.suite.yaml.document import parse
from pcbench.suite.yaml.node import write_scalar
from pcbench.suite.yaml.problems import Position


def read(text):
    return parse(text, Position)[0].plain()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", -math.inf),
        ("12", 12),
        ("-7", -7),
        ("+7", 7),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
    ],
)
def test_scalars_have_the_types_of_yaml_1_2(text, value):
    found = read(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "yes",
        "on",
        "off",
        "y",
        "N",
        "1:30",
        "2024-01-01",
        "1_000",
        "0b11",
        "1e",
        "e3",
        ".",
        "=",
    ],
)
def test_what_only_yaml_1_1_converts_stays_a_string(text):
    assert read(text) == text


def test_quotes_make_a_string():
    assert read("['1', \"true\", 'null']") == ["1", "true", "null"]


def test_nan_is_a_number():
    assert math.isnan(read(".nan"))


@given(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
)
def test_what_is_written_reads_back_the_same(value):
    found = read(write_scalar(value))
    assert found == value
    assert type(found) is type(value)


@given(st.text(st.characters(codec="utf-8")))
def test_a_written_string_is_one_line(value):
    assert len(write_scalar(value).splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("mnist1d", "mnist1d"),
        ("a/b-c.d+e", "a/b-c.d+e"),
        ("1", '"1"'),
        ("true", '"true"'),
        ("", '""'),
        ("a b", '"a b"'),
        ("a,b=c", '"a,b=c"'),
        (1e-5, "1e-05"),
        (True, "true"),
        (None, "null"),
    ],
)
def test_strings_are_plain_where_they_can_be(value, text):
    assert write_scalar(value) == text
