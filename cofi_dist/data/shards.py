"""Offer UserRange at its former place to scripts; the code is in `cofi_dist.sharding.ranges`."""

from cofi_dist.sharding.ranges import UserRange

__all__ = ["UserRange"]
