"""Training: rules that say where downhill is, optimisers, and the loop that joins them."""
