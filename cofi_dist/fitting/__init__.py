"""Train from Python: `cofi_dist.fit`."""
