"""Choose the device that a rank works on, and the library that carries its tensors."""

import socket
from collections import Counter

import torch
import torch.distributed as dist

from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import ConfigError
from cofi_dist.system.memory import free_memory
from cofi_dist.words import counted


def choose_device(name: str, comm: Comm, backend: str = "auto") -> torch.device:
    """Return the device of this rank, and let a library carry its tensors.

    Collective: all ranks call it.

    Args:
        name: `auto` is cuda if there is a CUDA device, else mps for a single process, else cpu. With cuda,
            the ranks of a node take its devices in turn.
        comm: the ranks.
        backend: `nccl`; `gloo`, over the host's memory; or `auto`: gloo if ranks share a CUDA device.

    Raises:
        ConfigError: the device is not available, not the same kind on all ranks, or not for this backend.
    """
    if name == "auto":
        mps = torch.backends.mps.is_available() and comm.world_size == 1
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device: mps is not available here; use cpu or auto", shared=True)
    if name == "mps" and comm.world_size > 1:
        raise ConfigError(
            "device: mps has no backend for several ranks; use cpu, or one process", shared=True
        )
    device = _cuda_device(comm.local_rank) if name == "cuda" else torch.device(name)
    if comm.world_size > 1:
        _choose_backend(backend, device, comm)
    return device


def _cuda_device(local_rank: int) -> torch.device:
    devices = torch.cuda.device_count()
    if not devices:
        raise ConfigError("device: cuda: there is no CUDA device here; set device: cpu or auto")
    device = torch.device("cuda", local_rank % devices)
    torch.cuda.set_device(device)
    return device


def _choose_backend(backend: str, device: torch.device, comm: Comm) -> None:
    """Let gloo carry CUDA tensors if it is asked for or needed."""
    kinds = comm.all_gather_objects(device.type)
    if other := next((rank for rank, kind in enumerate(kinds) if kind != kinds[0]), None):
        raise ConfigError(
            f"device: auto is {kinds[other]} for rank {other}, {kinds[0]} for rank 0; set device: cpu, or"
            " start ranks only where there are CUDA devices",
            shared=True,
        )
    if device.type != "cuda":
        if backend == "nccl":
            raise ConfigError(
                f"train.backend: nccl carries CUDA tensors, not those of a {device.type}; leave it out",
                shared=True,
            )
        return
    ranks = ranks_per_device(device, comm)
    if backend == "nccl" and ranks > 1:
        raise ConfigError(
            f"train.backend: nccl needs a CUDA device for each rank, and {counted(ranks, 'rank')} have the"
            " same one; start fewer ranks, or leave it out",
            shared=True,
        )
    comm.carry_over_host(backend == "gloo" or ranks > 1 or not dist.is_nccl_available())


def ranks_per_device(device: torch.device, comm: Comm) -> int:
    """Return how many ranks the device with the most ranks has. Collective: all ranks call it."""
    # not by its number: tasks of SLURM may each see one device only, which they all call the first
    is_cuda = device.type == "cuda"
    name = str(torch.cuda.get_device_properties(device).uuid) if is_cuda else str(comm.rank)
    places = comm.all_gather_objects(f"{socket.gethostname()} {name}")
    return max(Counter(places).values())


def min_free_memory(device: torch.device, comm: Comm) -> int:
    """Return how many bytes the rank with the least free memory may take. Collective: all ranks call it."""
    sharing = ranks_per_device(device, comm)
    is_cuda = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] // sharing if is_cuda else free_memory(comm.local_world_size)
    (negated,) = comm.max_over_ranks(-free)
    return -negated
