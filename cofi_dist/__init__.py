"""Train and use collaborative filtering models: the notebook's cost, exactly, on any number of ranks."""

__version__ = "0.1.0"
