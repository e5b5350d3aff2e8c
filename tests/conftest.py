"""Shapes in annotations are executed: jaxtyping's are checked wherever the package has arrays."""

from jaxtyping import install_import_hook

ROOMS_WITH_ARRAYS = ["theory", "networks", "data", "backends", "cases"]

# Before any test imports the package, or the modules imported first would escape the hook.
install_import_hook([f"pcbench.{room}" for room in ROOMS_WITH_ARRAYS], "beartype.beartype")
