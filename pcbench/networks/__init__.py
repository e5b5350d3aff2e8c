"""What is studied: networks by their shape and by the point in weight space where they stand."""

from pcbench.networks.initialisation import (
    Initialisation,
    KaimingUniform,
    LecunNormal,
    NearOrigin,
    Origin,
    Orthogonal,
    PenultimateOnly,
    XavierNormal,
    ZeroRank,
)
from pcbench.networks.parameters import InitialisationField, NetworkParameters
from pcbench.networks.specification import Activation, Convention, NetworkSpec

__all__ = [
    "Activation",
    "Convention",
    "Initialisation",
    "InitialisationField",
    "KaimingUniform",
    "LecunNormal",
    "NearOrigin",
    "NetworkParameters",
    "NetworkSpec",
    "Origin",
    "Orthogonal",
    "PenultimateOnly",
    "XavierNormal",
    "ZeroRank",
]
