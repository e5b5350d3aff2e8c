"""Deep linear networks in closed form: Theorems 1 to 3 of the paper and what follows from them."""
