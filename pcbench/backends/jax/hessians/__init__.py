"""Hessians of loss and energy, by their products with vectors: forward over reverse."""

from pcbench.backends.jax.hessians.implicit import EnergyHessian
from pcbench.backends.jax.hessians.objectives import LossHessian, UnrolledHessian

__all__ = ["EnergyHessian", "LossHessian", "UnrolledHessian"]
