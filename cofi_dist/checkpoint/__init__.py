"""Checkpoints: saved in the background, row by row, whole or not there; loaded on any number of ranks."""
