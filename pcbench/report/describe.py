"""The data and the network of a case in a word or two, from its resolved parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcbench.report.numbers import ABSENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue


def data_name(parameters: Mapping[str, JsonValue]) -> str:
    """Return the name of the dataset: ``mnist1d``."""
    data = parameters.get("data")
    name = data.get("name") if isinstance(data, dict) else data
    return name if isinstance(name, str) else ABSENT


def network_shape(parameters: Mapping[str, JsonValue]) -> str:
    """Return the hidden layers and the activation: ``5×300``, ``conv 64-128, 300-100 tanh``.

    The identity goes unsaid: a network is linear unless something is written beside its widths.
    """
    network = parameters.get("network")
    if not isinstance(network, dict):
        return ABSENT
    widths = network.get("widths")
    if isinstance(widths, list):
        shape = "-".join(map(str, widths)) or "no hidden layer"
    elif network.get("hidden_layers") is not None and network.get("width") is not None:
        shape = f"{network['hidden_layers']}×{network['width']}"
    else:
        return ABSENT
    if channels := _channels(network.get("convolutions")):
        shape = f"conv {channels}, {shape}"
    activation = network.get("activation")
    return shape if activation in (None, "identity") else f"{shape} {activation}"


def _channels(convolutions: JsonValue) -> str:
    layers = convolutions if isinstance(convolutions, list) else []
    return "-".join(str(layer.get("channels")) for layer in layers if isinstance(layer, dict))
