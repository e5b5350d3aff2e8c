"""Hessians of loss and energy, by their products with vectors: forward over reverse."""

from pcbench.backends.jax.hessians.implicit import EnergyHessian
from pcbench.backends.jax.hessians.loss import LossHessian
from pcbench.backends.jax.hessians.unrolled import UnrolledHessian

__all__ = ["EnergyHessian", "LossHessian", "UnrolledHessian"]
