"""Hessians by their products: each the derivative of a gradient along a vector."""
