"""How a suite writes a network: ``{hidden_layers: 5, width: 300}`` or ``{widths: [300, 20]}``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

from pcbench.networks.initialisation import (
    KaimingUniform,
    LecunNormal,
    NearOrigin,
    Origin,
    Orthogonal,
    PenultimateOnly,
    XavierNormal,
    ZeroRank,
)
from pcbench.networks.specification import Activation, Convention, NetworkSpec

MAX_WIDTH = 100_000
MAX_HIDDEN_LAYERS = 1_000

Width = Annotated[PositiveInt, Field(le=MAX_WIDTH)]


def _by_name(value: Any) -> Any:
    """Let a bare name stand for an initialisation with its default settings."""
    return {"name": value} if isinstance(value, str) else value


InitialisationField = Annotated[
    Annotated[
        Origin
        | NearOrigin
        | LecunNormal
        | XavierNormal
        | KaimingUniform
        | Orthogonal
        | PenultimateOnly
        | ZeroRank,
        Field(discriminator="name"),
    ],
    BeforeValidator(_by_name),
]


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
    activation: Activation = "identity"
    convention: Convention = "post"
    initialisation: InitialisationField = LecunNormal()

    @model_validator(mode="after")
    def _written_one_way(self) -> NetworkParameters:
        by_count = self.hidden_layers is not None or self.width is not None
        if self.widths is not None and by_count:
            raise ValueError("give either widths, or hidden_layers and width, not both")
        if self.widths is None and (self.hidden_layers is None or self.width is None):
            raise ValueError(
                "give hidden_layers and width, or widths (a list, one per hidden layer)"
            )
        # Whether the point exists depends on the hidden layers alone.
        self.initialisation.check(self.specification(1, 1))
        return self

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        if self.widths is not None:
            return tuple(self.widths)
        assert self.hidden_layers is not None  # for the type checker: see _written_one_way
        assert self.width is not None
        return (self.width,) * self.hidden_layers

    def specification(self, input_width: int, output_width: int) -> NetworkSpec:
        """Return the whole network, between an input and an output of the given widths."""
        return NetworkSpec(
            widths=(input_width, *self.hidden, output_width),
            activation=self.activation,
            convention=self.convention,
        )
