"""How networks are written, and what a specification says of itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pcbench.networks import (
    Convolution,
    Dense,
    ImpossibleNetworkError,
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
    assert by_count.specification((4,), 2) == by_list.specification((4,), 2)
    assert by_count.specification((4,), 2).widths == (4, 7, 7, 7, 2)


def test_hidden_layers_may_differ_or_be_none_at_all():
    assert NetworkParameters(widths=[300, 20]).specification((5,), 2).widths == (5, 300, 20, 2)
    assert NetworkParameters(widths=[]).specification((5,), 2).widths == (5, 2)
    assert NetworkParameters(hidden_layers=0, width=7).specification((5,), 2).widths == (5, 2)


def test_activation_and_convention_reach_the_specification():
    written = NetworkParameters(hidden_layers=1, width=2, activation="tanh", convention="pre")
    assert written.specification((3,), 3) == NetworkSpec((3, 2, 3), "tanh", "pre")


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


# --- Biases and convolutions

IMAGES = NetworkParameters(
    widths=[6],
    convolutions=[{"channels": 4, "pool": 2}, {"channels": 3, "kernel": 1}],
    activation="relu",
    convention="pre",
    bias=True,
)


def test_convolutions_take_images_and_hand_flat_activities_on():
    network = IMAGES.specification((2, 4, 6), 5)
    first, second = Convolution((2, 4, 6), 4, 3, 2), Convolution((4, 2, 3), 3, 1, 1)
    assert network == NetworkSpec((48, 24, 18, 6, 5), "relu", "pre", True, (first, second))
    assert network.layers == (first, second, Dense(18, 6), Dense(6, 5))
    assert network.shapes == ((4, 2, 3, 3), (3, 4, 1, 1), (6, 18), (5, 6))
    assert network.bias_shapes == ((4,), (3,), (6,), (5,))
    assert network.n_parameters == 4 * 18 + 3 * 4 + 6 * 18 + 5 * 6 + 4 + 3 + 6 + 5


def test_without_convolutions_an_image_is_flat():
    assert NetworkParameters(widths=[6]).specification((2, 4, 6), 5).widths == (48, 6, 5)


def test_convolutions_may_be_all_that_is_hidden():
    written = NetworkParameters(widths=[], convolutions=[{"channels": 2}])
    assert written.specification((1, 3, 3), 4).widths == (9, 18, 4)


def test_biases_are_parameters_only_where_there_are_any():
    plain, biased = (
        NetworkParameters(widths=[4], bias=bias).specification((3,), 2) for bias in (False, True)
    )
    assert (plain.bias_shapes, biased.bias_shapes) == ((), ((4,), (2,)))
    assert biased.n_parameters - plain.n_parameters == 4 + 2


def test_neither_biases_nor_convolutions_leave_a_network_linear():
    convolution = Convolution((1, 2, 2), 1)
    assert not NetworkSpec((3, 2), bias=True).is_linear
    assert not NetworkSpec((4, 4, 2), convolutions=(convolution,)).is_linear


def test_a_convolution_refuses_inputs_that_are_flat():
    with pytest.raises(ImpossibleNetworkError, match=r"takes images .*, not \(48,\); .*leave"):
        IMAGES.specification((48,), 5)


@pytest.mark.parametrize("image", [(2, 3, 6), (2, 4, 5)])
def test_windows_that_do_not_divide_the_image_are_refused(image):
    with pytest.raises(ImpossibleNetworkError, match="do not divide into windows of 2 × 2"):
        IMAGES.specification(image, 5)


def test_an_image_pooled_by_one_layer_may_be_too_small_for_the_next():
    written = NetworkParameters(widths=[], convolutions=[{"channels": 2, "pool": 2}] * 2)
    assert written.specification((1, 4, 8), 3).widths == (32, 16, 4, 3)
    with pytest.raises(ImpossibleNetworkError, match="images of 3 × 4 do not divide"):
        written.specification((1, 6, 8), 3)


def test_kernels_without_a_centre_are_refused_as_they_are_written():
    sentence = "a kernel of side 2 has no centre; make it odd"
    assert sentence in refusal(widths=[], convolutions=[{"channels": 1, "kernel": 2}])
    with pytest.raises(ValueError, match="no centre"):
        Convolution((1, 4, 4), 2, kernel=4)


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ({"channels": 0}, "channels"),
        ({}, "channels"),
        ({"channels": 1, "kernel": 0}, "kernel"),
        ({"channels": 1, "pool": 0}, "pool"),
        ({"channels": 1, "stride": 2}, "stride"),
    ],
)
def test_each_mistake_in_a_convolution_is_reported_where_it_stands(written, place):
    with pytest.raises(ValidationError) as caught:
        NetworkParameters(widths=[], convolutions=[{"channels": 1}, written])
    (error,) = caught.value.errors()
    assert error["loc"] == ("convolutions", 1, place)


@pytest.mark.parametrize("saddle", ["penultimate_only", "zero_rank"])
def test_saddles_are_points_of_fully_connected_networks(saddle):
    with_images = refusal(widths=[4, 4], convolutions=[{"channels": 1}], initialisation=saddle)
    assert f"{saddle} is a point of fully connected networks" in with_images
    assert NetworkParameters(widths=[4, 4], initialisation=saddle)


def test_a_specification_refuses_convolutions_that_do_not_fit_or_reach_the_output():
    convolution = Convolution((1, 2, 2), 3)
    with pytest.raises(ValueError, match="from 4 to 12 does not fit between widths 4 and 11"):
        NetworkSpec((4, 11, 2), convolutions=(convolution,))
    with pytest.raises(ValueError, match="output layer is fully connected"):
        NetworkSpec((4, 12), convolutions=(convolution,))


def test_convolutions_survive_serialisation_and_back():
    assert NetworkParameters.model_validate_json(IMAGES.model_dump_json()) == IMAGES
