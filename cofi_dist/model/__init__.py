"""The trained artefact: needs no training data and no trainer."""

from cofi_dist.model.model import Facts, Model

__all__ = ["Facts", "Model"]
