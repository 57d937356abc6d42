"""The error term of the cost and its gradients, dense as in the notebook or sparse, and the regulariser."""

from cofi_dist.cost.term import Cost, ErrorTerm

__all__ = ["Cost", "ErrorTerm"]
