"""Train the factors: the loop, its state and its validation."""
