"""Training: learning rules, optimisers, and the scan that joins them."""
