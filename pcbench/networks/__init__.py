"""What is studied: networks by their shape and by the point in weight space where they stand."""

from pcbench.networks.activations import ACTIVATIONS, LEAK, Activation, ActivationName, activation
from pcbench.networks.initialisation import (
    ImpossibleNetworkError,
    Initialisation,
    InitialisationField,
    KaimingUniform,
    LecunNormal,
    NearOrigin,
    Origin,
    Orthogonal,
    PenultimateOnly,
    Saved,
    XavierNormal,
    ZeroRank,
)
from pcbench.networks.parameters import NetworkParameters
from pcbench.networks.specification import Convention, Convolution, Dense, Layer, NetworkSpec

__all__ = [
    "ACTIVATIONS",
    "LEAK",
    "Activation",
    "ActivationName",
    "Convention",
    "Convolution",
    "Dense",
    "ImpossibleNetworkError",
    "Initialisation",
    "InitialisationField",
    "KaimingUniform",
    "Layer",
    "LecunNormal",
    "NearOrigin",
    "NetworkParameters",
    "NetworkSpec",
    "Origin",
    "Orthogonal",
    "PenultimateOnly",
    "Saved",
    "XavierNormal",
    "ZeroRank",
    "activation",
]
