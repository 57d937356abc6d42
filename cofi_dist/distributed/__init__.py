"""The one room that talks to torch.distributed: communicators, how ranks meet, devices."""

from cofi_dist.distributed.comm import Comm, GroupComm, SoloComm
from cofi_dist.distributed.device import choose_device, free_on
from cofi_dist.distributed.meet import meet, open_comm
from cofi_dist.distributed.ordered import OrderedSums, Sums
from cofi_dist.distributed.told import Task

__all__ = [
    "Comm",
    "GroupComm",
    "OrderedSums",
    "SoloComm",
    "Sums",
    "Task",
    "choose_device",
    "free_on",
    "meet",
    "open_comm",
]
