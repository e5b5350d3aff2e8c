"""The NumPy backend: the reference that every other backend is compared with.

Slow and obvious, and on other roads than those backends and the judge: the equilibrium of a linear
network by writing down the block-tridiagonal curvature of all hidden activities and solving with it
directly, that of any other network by Gauss-Newton steps with the same matrix, sample by sample;
convolutions as the matrices that they are; replicas one after the other.
"""

from pcbench.backends.numpy.backend import NumpyBackend

__all__ = ["NumpyBackend"]
