"""How a suite writes a network: ``{hidden_layers: 5, width: 300}`` or ``{widths: [300, 20]}``."""

from __future__ import annotations

from math import prod
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from pcbench.networks.activations import ActivationName
from pcbench.networks.initialisation import (
    ImpossibleNetworkError,
    InitialisationField,
    LecunNormal,
    OfLayers,
    Saved,
)
from pcbench.networks.specification import Convention, Convolution, NetworkSpec

MAX_WIDTH = 100_000
MAX_HIDDEN_LAYERS = 1_000

Width = Annotated[PositiveInt, Field(le=MAX_WIDTH)]


class ConvolutionParameters(BaseModel):
    """A convolution of stride 1 that keeps height and width; max pooling comes last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Width = Field(description="Channels of the output.")
    kernel: PositiveInt = Field(3, description="Side of the kernel, odd.")
    pool: PositiveInt = Field(1, description="Side of the pooling windows; 1 pools nothing.")

    @model_validator(mode="after")
    def _has_a_centre(self) -> ConvolutionParameters:
        Convolution((1, self.pool, self.pool), self.channels, self.kernel, self.pool)
        return self


class NetworkParameters(BaseModel):
    """The hidden part of a network; the dataset gives the widths of input and output."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_layers: int | None = Field(
        None, ge=0, le=MAX_HIDDEN_LAYERS, description="H, the number of hidden layers."
    )
    width: Width | None = Field(None, description="Units of every hidden layer.")
    widths: list[Width] | None = Field(
        None, max_length=MAX_HIDDEN_LAYERS, description="Or: units of each hidden layer."
    )
    convolutions: list[ConvolutionParameters] = Field(
        default=[], max_length=MAX_HIDDEN_LAYERS, description="Hidden layers before those."
    )
    activation: ActivationName = Field(
        "identity",
        description=(
            "φ of the hidden layers: relu max(0, a), leaky_relu with slope 0.01 below 0, silu "
            "a/(1 + exp(-a))."
        ),
    )
    convention: Convention = Field(
        "post", description="Whether a layer predicts φ(W z), post, or W φ(z), pre."
    )
    bias: bool = Field(False, description="Whether layers have biases.")
    initialisation: InitialisationField = LecunNormal()

    @model_validator(mode="after")
    def _written_one_way(self) -> NetworkParameters:
        by_count = self.hidden_layers is not None or self.width is not None
        if self.widths is not None and by_count:
            raise ValueError("give either widths, or hidden_layers and width, not both")
        if self.widths is None and None in (self.hidden_layers, self.width):
            raise ValueError(
                "give hidden_layers and width, or widths (a list, one per hidden layer)"
            )
        if not self.convolutions:  # whether the point exists depends on the hidden layers alone
            self.initialisation.check(self.specification((1,), 1))
        elif not isinstance(self.initialisation, OfLayers | Saved):
            raise ValueError(
                f"{self.initialisation.name} is a point of fully connected networks; leave "
                "convolutions out"
            )
        return self

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of each fully connected hidden layer."""
        if self.widths is not None:
            return tuple(self.widths)
        return (self.width or 0,) * (self.hidden_layers or 0)

    @property
    def is_linear(self) -> bool:
        """Whether the network is linear and without biases: the theorems are about these."""
        return self.activation == "identity" and not (self.bias or self.convolutions)

    def specification(self, input_shape: tuple[int, ...], output_width: int) -> NetworkSpec:
        """Return the whole network, between inputs of a shape and an output of a width.

        Inputs are ``(d_0,)``, or ``(channels, height, width)`` where the first layer is a
        convolution; an ``ImpossibleNetworkError`` says why it cannot take what comes in.
        """
        convolutions: list[Convolution] = []
        shape = input_shape
        for layer in self.convolutions:
            if len(shape) != 3:
                raise ImpossibleNetworkError(
                    f"a convolution takes images (channels, height, width), not {shape}; write "
                    "data.shape: image, or leave network.convolutions out"
                )
            channels, height, width = shape
            image = channels, height, width
            try:
                made = Convolution(image, layer.channels, layer.kernel, layer.pool)
            except ValueError as error:
                raise ImpossibleNetworkError(str(error)) from error
            convolutions.append(made)
            shape = made.output_image
        widths = *(layer.outputs for layer in convolutions), *self.hidden
        return NetworkSpec(
            (prod(input_shape), *widths, output_width),
            self.activation,
            self.convention,
            self.bias,
            tuple(convolutions),
        )
