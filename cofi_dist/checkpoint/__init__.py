"""Save checkpoints in the background, row by row, and load them on any number of ranks."""
