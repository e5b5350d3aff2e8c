"""The questions that pcbench asks: a folder a kind, found by name through entry points."""
