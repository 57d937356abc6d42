"""Compute the cost: its error term, dense as in the notebook or sparse, and its regulariser."""

from cofi_dist.cost.term import Cost, ErrorTerm

__all__ = ["Cost", "ErrorTerm"]
