"""Distributed collaborative filtering: the notebook's cost, exactly, on any number of ranks."""

__version__ = "0.1.0"
