"""Numbers, data and networks as people read them, the same in every rendering."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcbench.failures import apart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue


ABSENT = "–"
"""Shown where there is no value."""


def format_number(value: float | None) -> str:
    """Format with six significant digits: ``0.123457``, ``1.2e-13``."""
    return ABSENT if value is None else f"{value:.6g}"


def format_expected(relation: str, expected: float | tuple[float, float] | None) -> str:
    """Format what is demanded: ``≈ 0.25``, ``≤ 1``, ``∈ [0, 1]``."""
    if expected is None:
        return ABSENT
    if isinstance(expected, tuple):
        low, high = expected
        return f"{relation} [{format_number(low)}, {format_number(high)}]"
    return f"{relation} {format_number(expected)}"


def format_margin(margin: float | None) -> str:
    """Format a margin with its sign, since the sign is the verdict: ``+0.9831``, ``-12.5``."""
    return ABSENT if margin is None else f"{margin:+.4g}"


def format_duration(seconds: float) -> str:
    """Format a duration with four significant digits in the unit that suits: ``12.3 ms``."""
    if seconds == 0:
        return "0 s"
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def format_bytes(count: int | None) -> str:
    """Format an amount of memory: ``512 B``, ``1.5 GiB``."""
    if count is None:
        return ABSENT
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.4g} {unit}"
        amount /= 1024
    return f"{amount:.4g} GiB"


def format_apart(first: float | None, second: float | None) -> tuple[str, str]:
    """Format two different numbers with as many digits as it takes to tell them apart."""
    if first is None or second is None:
        return format_number(first), format_number(second)
    return apart(first, second)


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
