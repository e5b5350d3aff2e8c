"""Training: gradient descent on loss and equilibrated energy, and how fast it leaves saddles."""
