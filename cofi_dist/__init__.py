"""Train and use collaborative filtering models: the notebook's cost, exactly, on any number of ranks."""

from cofi_dist.version import __version__

__all__ = ["__version__"]
