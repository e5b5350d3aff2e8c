"""How numbers and networks are written."""

import pytest

from pcbench.report.text import (
    data_name,
    format_apart,
    format_bytes,
    format_duration,
    format_expected,
    format_margin,
    format_number,
    network_shape,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.25, "0.25"),
        (1 / 3, "0.333333"),
        (1.2e-13, "1.2e-13"),
        (-123456789.0, "-1.23457e+08"),
        (300.0, "300"),
        (None, "–"),
    ],
)
def test_numbers_have_six_significant_digits(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("relation", "expected", "text"),
    [("≈", 0.5, "≈ 0.5"), ("∈", (0.0, 1.0), "∈ [0, 1]"), ("≤", None, "–")],
)
def test_what_is_expected_comes_with_its_relation(relation, expected, text):
    assert format_expected(relation, expected) == text


@pytest.mark.parametrize(
    ("margin", "text"),
    [(1.0, "+1"), (0.98314, "+0.9831"), (-12.5, "-12.5"), (0.0, "+0"), (None, "–")],
)
def test_a_margin_has_its_sign(margin, text):
    assert format_margin(margin) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (2e-9, "2 ns"), (1.5e-5, "15 µs"), (0.0123, "12.3 ms"), (35.1, "35.1 s")],
)
def test_durations_have_a_unit_that_suits(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "–"), (512, "512 B"), (1536, "1.5 KiB"), (3 * 2**20, "3 MiB"), (2**41, "2048 GiB")],
)
def test_memory_has_a_unit_that_suits(count, text):
    assert format_bytes(count) == text


@pytest.mark.parametrize("difference", [1e-1, 1e-7, 1e-10, 2e-16])
def test_numbers_that_differ_are_written_differently(difference):
    first, second = format_apart(0.5, 0.5 + difference)
    assert first != second


@pytest.mark.parametrize(
    ("network", "text"),
    [
        ({"hidden_layers": 5, "width": 300}, "5×300"),
        ({"hidden_layers": 5, "width": 300, "widths": None, "activation": "tanh"}, "5×300 tanh"),
        ({"widths": [5, 5], "activation": "identity"}, "5-5"),
        ({"widths": [300, 200, 100], "hidden_layers": None}, "300-200-100"),
        ({"widths": []}, "no hidden layer"),
        (
            {"widths": [20], "convolutions": [{"channels": 4}, {"channels": 6}]},
            "conv 4-6, 20",
        ),
        ({"depth": 3}, "–"),
        ("5x300", "–"),
    ],
)
def test_a_network_is_its_hidden_layers_and_its_nonlinearity(network, text):
    assert network_shape({"network": network}) == text


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"data": {"name": "mnist1d", "samples": 64}}, "mnist1d"),
        ({"data": "mnist1d"}, "mnist1d"),
        ({"data": {"samples": 64}}, "–"),
        ({}, "–"),
    ],
)
def test_data_is_named(parameters, text):
    assert data_name(parameters) == text


def test_a_case_without_a_network_has_none():
    assert network_shape({}) == "–"
