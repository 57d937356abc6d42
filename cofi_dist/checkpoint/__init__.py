"""Checkpoints: saved in the background, complete or absent, and loaded on any number of ranks."""
