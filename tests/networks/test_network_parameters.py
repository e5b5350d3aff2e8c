"""How networks are written, and what a specification says of itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pcbench.networks import (
    InitialisationField,
    LecunNormal,
    NearOrigin,
    NetworkParameters,
    NetworkSpec,
    Orthogonal,
    PenultimateOnly,
    ZeroRank,
)

initialisations = TypeAdapter(InitialisationField)


def refusal(**written):
    with pytest.raises(ValidationError) as caught:
        NetworkParameters(**written)
    return str(caught.value)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=6).map(tuple))
def test_a_specification_counts_its_layers_and_weights(widths):
    network = NetworkSpec(widths)
    assert network.n_layers == len(widths) - 1
    assert network.n_hidden == len(widths) - 2
    assert network.shapes == tuple((widths[i + 1], widths[i]) for i in range(len(widths) - 1))
    assert network.n_parameters == sum(a * b for a, b in network.shapes)
    assert str(network) == "-".join(str(width) for width in widths)


@pytest.mark.parametrize("widths", [(), (3,), (3, 0), (3, -1, 2)])
def test_widths_that_are_no_network_are_refused(widths):
    with pytest.raises(ValueError, match="not an input, hidden layers and an output"):
        NetworkSpec(widths)


def test_only_the_identity_makes_a_network_linear():
    assert NetworkSpec((3, 2)).is_linear
    assert not any(
        NetworkSpec((3, 2), activation).is_linear
        for activation in ("tanh", "relu", "leaky_relu", "silu")
    )


def test_a_network_written_by_count_or_by_list_is_the_same():
    by_count = NetworkParameters(hidden_layers=3, width=7)
    by_list = NetworkParameters(widths=[7, 7, 7])
    assert by_count.hidden == by_list.hidden == (7, 7, 7)
    assert by_count.specification(4, 2) == by_list.specification(4, 2)
    assert by_count.specification(4, 2).widths == (4, 7, 7, 7, 2)


def test_hidden_layers_may_differ_or_be_none_at_all():
    assert NetworkParameters(widths=[300, 20]).specification(5, 2).widths == (5, 300, 20, 2)
    assert NetworkParameters(widths=[]).specification(5, 2).widths == (5, 2)
    assert NetworkParameters(hidden_layers=0, width=7).specification(5, 2).widths == (5, 2)


def test_activation_and_convention_reach_the_specification():
    written = NetworkParameters(hidden_layers=1, width=2, activation="tanh", convention="pre")
    assert written.specification(3, 3) == NetworkSpec((3, 2, 3), "tanh", "pre")


@pytest.mark.parametrize("also", [{"hidden_layers": 2}, {"width": 2}, {"hidden_layers": 0}])
def test_widths_written_both_ways_are_refused(also):
    sentence = "give either widths, or hidden_layers and width, not both"
    assert sentence in refusal(widths=[2, 2], **also)


@pytest.mark.parametrize("written", [{}, {"hidden_layers": 2}, {"width": 2}])
def test_half_a_description_is_refused(written):
    sentence = "give hidden_layers and width, or widths (a list, one per hidden layer)"
    assert sentence in refusal(**written)


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ({"hidden_layers": -1, "width": 3}, "hidden_layers"),
        ({"hidden_layers": 1001, "width": 3}, "hidden_layers"),
        ({"hidden_layers": 1, "width": 0}, "width"),
        ({"hidden_layers": 1, "width": 100_001}, "width"),
        ({"widths": [3, 0]}, "widths.1"),
        ({"widths": [3, 100_001]}, "widths.1"),
        ({"widths": [1] * 1001}, "widths"),
        ({"widths": [2.5]}, "widths.0"),
        ({"widths": [3], "activation": "softmax"}, "activation"),
        ({"widths": [3], "convention": "middle"}, "convention"),
        ({"widths": [3], "initialisation": "here"}, "initialisation"),
        ({"widths": [3], "depth": 3}, "depth"),
    ],
)
def test_each_mistake_is_reported_where_it_stands(written, place):
    with pytest.raises(ValidationError) as caught:
        NetworkParameters(**written)
    (error,) = caught.value.errors()
    assert ".".join(map(str, error["loc"])) == place


def test_a_saddle_that_the_network_cannot_have_is_refused_as_it_is_written():
    assert "needs at least 2 hidden layers" in refusal(
        widths=[5], initialisation="penultimate_only"
    )
    assert "hidden layer of at least 2 units" in refusal(widths=[1, 5], initialisation="zero_rank")
    assert NetworkParameters(widths=[2, 5], initialisation="zero_rank")
    assert NetworkParameters(widths=[1, 1], initialisation="penultimate_only")


def test_the_default_initialisation_is_lecun():
    assert NetworkParameters(widths=[3]).initialisation == LecunNormal()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("near_origin", NearOrigin(std=0.005)),
        ({"name": "near_origin", "std": 0.1}, NearOrigin(std=0.1)),
        ({"name": "orthogonal", "gain": 2}, Orthogonal(gain=2)),
        ("penultimate_only", PenultimateOnly(std=1)),
        ("zero_rank", ZeroRank()),
        (ZeroRank(), ZeroRank()),
    ],
)
def test_a_bare_name_stands_for_the_defaults(written, meant):
    assert initialisations.validate_python(written) == meant


def test_settings_of_another_initialisation_are_refused():
    with pytest.raises(ValidationError, match=r"orthogonal\.std"):
        initialisations.validate_python({"name": "orthogonal", "std": 2})


def test_a_network_survives_serialisation_and_back():
    written = NetworkParameters(
        widths=[4, 3], activation="tanh", initialisation={"name": "near_origin", "std": 0.25}
    )
    assert NetworkParameters.model_validate_json(written.model_dump_json()) == written


def test_networks_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        NetworkParameters(widths=[3]).width = 4
