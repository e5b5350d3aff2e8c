"""Where inference ends, in any network."""

from pcbench.cases.equilibrium.case import Equilibrium

__all__ = ["Equilibrium"]
