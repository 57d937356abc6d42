"""Choose the device that a rank works on."""

import torch

from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import ConfigError
from cofi_dist.system.memory import free_memory
from cofi_dist.words import counted


def choose_device(name: str, comm: Comm) -> torch.device:
    """Return the device of this rank.

    `auto` is cuda if there is a CUDA device, else mps for a single process, else cpu. With cuda, each
    rank of a node takes the device of its local rank.

    Raises:
        ConfigError: the device is not available.
    """
    if name == "auto":
        mps = torch.backends.mps.is_available() and comm.world_size == 1
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    if name == "cuda":
        if comm.local_world_size > torch.cuda.device_count():
            raise ConfigError(
                f"device: cuda needs a device a rank; {counted(comm.local_world_size, 'rank')} on this node,"
                f" {counted(torch.cuda.device_count(), 'CUDA device')}; start fewer or set device: cpu"
            )
        torch.cuda.set_device(comm.local_rank)
        return torch.device("cuda", comm.local_rank)
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device: mps is not available here; use cpu or auto", shared=True)
    if name == "mps" and comm.world_size > 1:
        raise ConfigError(
            "device: mps has no backend for several ranks; use cpu, or one process", shared=True
        )
    return torch.device(name)


def min_free_memory(device: torch.device, comm: Comm) -> int:
    """Return how many bytes the rank with the least free memory may take. Collective: all ranks call it."""
    is_cuda = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if is_cuda else free_memory(comm.local_world_size)
    (negated,) = comm.max_over_ranks(-free)
    return -negated
