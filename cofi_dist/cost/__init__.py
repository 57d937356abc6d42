"""The error term of the cost and its gradients: dense, as the notebook; sparse, the known cells."""

from cofi_dist.cost.term import Cost, ErrorTerm

__all__ = ["Cost", "ErrorTerm"]
