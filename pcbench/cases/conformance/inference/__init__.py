"""Questions on inference: where engines end, by which steps, and what they record."""
