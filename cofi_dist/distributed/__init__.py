"""The one room that talks to torch.distributed: communicators, how ranks meet, devices."""

from cofi_dist.distributed.comm import Comm, GroupComm, SoloComm
from cofi_dist.distributed.device import choose_device
from cofi_dist.distributed.meet import meet, open_comm

__all__ = ["Comm", "GroupComm", "SoloComm", "choose_device", "meet", "open_comm"]
