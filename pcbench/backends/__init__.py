"""The backends that pcbench ships."""
