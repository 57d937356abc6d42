"""The one room that talks to torch.distributed: communicators, how ranks meet, devices."""

from cofi_dist.distributed.comm import Comm, GroupComm, SoloComm
from cofi_dist.distributed.device import choose_device, free_on
from cofi_dist.distributed.handshake import Task
from cofi_dist.distributed.ordered_sum import OrderedSums, Sums
from cofi_dist.distributed.rendezvous import meet, open_comm

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
