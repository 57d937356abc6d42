"""The trained artefact: needs no training data and no trainer."""

from cofi_dist.model.model import Model

__all__ = ["Model"]
