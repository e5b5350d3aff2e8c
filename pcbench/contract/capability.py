"""What a backend may offer beyond the required part of the contract."""

from enum import StrEnum


class Capability(StrEnum):
    """An optional part of the contract, declared in ``Backend.capabilities``."""

    EXACT_INFERENCE = "exact_inference"
    """Inference with ``engine: exact`` (linear networks)."""
    GRADIENT_INFERENCE = "gradient_inference"
    """Inference with ``engine: gradient``."""
    ODE_INFERENCE = "ode_inference"
    """Inference with ``engine: ode``."""
    GAUSS_NEWTON_INFERENCE = "gauss_newton_inference"
    """Inference with ``engine: gauss_newton``."""
    ERROR_INFERENCE = "error_inference"
    """Inference with ``engine: error``."""
    NONLINEAR = "nonlinear"
    """Activations other than the identity, in both conventions, and biases."""
    CONVOLUTIONS = "convolutions"
    """Convolutions with max pooling before the fully connected layers."""
    PRECISION = "precision"
    """A precision for every entry of the output, 0 where it is not observed."""
    HESSIAN = "hessian"
    """``Model.loss_hessian`` and ``Model.energy_hessian``."""
    UNROLLED_HESSIAN = "unrolled_hessian"
    """``Model.unrolled_hessian``: through the steps of inference."""
    REPLICAS = "replicas"
    """Weights with a leading replica axis."""
    TRAINING = "training"
    """``Backend.trainer``."""
