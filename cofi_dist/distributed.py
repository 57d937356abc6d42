"""The one place that talks to torch.distributed: SoloComm, GroupComm, set-up and leaving.

Every call works with one process too, so nothing elsewhere asks whether the run is distributed.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from cofi_dist.errors import CofiError, ConfigError, PeerError, RunError

T = TypeVar("T")


class SoloComm:
    """One process. Sums are left as they are, so results stay bit-identical to the notebook."""

    rank = 0
    world_size = 1
    local_rank = 0
    ranks_here = 1

    def backend(self, device: torch.device) -> str:
        """Name of what carries tensors of this device."""
        return "none"

    def sum_(self, *tensors: Tensor) -> None:
        """Replace every tensor by its sum over ranks."""

    def sum_scalars(self, *scalars: Tensor) -> tuple[Tensor, ...]:
        """Sums over ranks of 0-dim tensors, in float64."""
        return scalars

    def on_first(self, work: Callable[[], T]) -> T:
        """What `work` returns on rank 0, on every rank."""
        return work()

    def agree(self) -> None:
        """Return once every rank has come this far."""

    def gather_rows(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """All ranks' rows in rank order, on the CPU of rank 0."""
        return rows.cpu()

    def require_equal(self, tensor: Tensor, name: str) -> None:
        """Raise RunError unless the tensor has the same bits on every rank."""

    def close(self) -> None:
        """Leave the group."""


class GroupComm:
    """The ranks of a process group; gloo carries CPU tensors, nccl CUDA tensors.

    Every method is collective: all ranks call it, in the same order. A rank whose peer is gone
    gets PeerError.
    """

    def __init__(self, local_rank: int, ranks_here: int) -> None:
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        self.local_rank, self.ranks_here = local_rank, ranks_here

    def backend(self, device: torch.device) -> str:
        """Name of what carries tensors of this device."""
        return "nccl" if device.type == "cuda" else "gloo"

    def sum_(self, *tensors: Tensor) -> None:
        """Replace every tensor by its sum over ranks, in one all-reduce.

        Equal shapes and dtypes in the same order on all ranks.
        """
        with _peers():
            if len(tensors) == 1 and tensors[0].is_contiguous():
                dist.all_reduce(tensors[0])
                return
            flat = torch.cat([t.reshape(-1) for t in tensors])
            dist.all_reduce(flat)
        for t, part in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
            t.copy_(part.view_as(t))

    def sum_scalars(self, *scalars: Tensor) -> tuple[Tensor, ...]:
        """Sums over ranks of 0-dim tensors, in float64."""
        packed = torch.stack([s.double() for s in scalars])
        self.sum_(packed)
        return packed.unbind()

    def on_first(self, work: Callable[[], T]) -> T:
        """What `work` returns on rank 0, on every rank.

        Raises:
            CofiError: what `work` raised on rank 0, on every rank, marked as shared.
        """
        outcome: list[Any] = [None]
        if self.rank == 0:
            try:
                outcome = [work()]
            except CofiError as error:
                outcome = [error]
        with _peers():
            dist.broadcast_object_list(outcome, src=0)
        if isinstance(outcome[0], CofiError):
            outcome[0].shared = True
            raise outcome[0]
        result: T = outcome[0]
        return result

    def agree(self) -> None:
        """Return once every rank has come this far."""
        self.sum_(torch.zeros(1))

    def gather_rows(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """All ranks' rows in rank order, on the CPU of rank 0; elsewhere the rows as given.

        Args:
            rows: this rank's, (counts[rank], ...).
            counts: rows of each rank.
        """
        with _peers():
            if self.rank != 0:
                if len(rows):
                    dist.send(rows.contiguous(), dst=0)
                return rows
            parts = [rows.cpu()]
            for source, count in enumerate(counts[1:], start=1):
                part = rows.new_empty(count, *rows.shape[1:])
                if count:
                    dist.recv(part, src=source)
                parts.append(part.cpu())
        return torch.cat(parts)

    def require_equal(self, tensor: Tensor, name: str) -> None:
        """Raise RunError unless the tensor has the same bits on every rank (by a checksum)."""
        bits = {4: torch.int32, 8: torch.int64}[tensor.element_size()]
        checksum = tensor.view(bits).sum(dtype=torch.int64)
        both = torch.stack([checksum, -checksum])
        with _peers():
            dist.all_reduce(both, op=dist.ReduceOp.MAX)
        if both[0] != -both[1]:
            raise RunError(
                f"{name} differs between ranks: its replicas drifted apart; a bug, or bad hardware",
                shared=True,
            )

    def close(self) -> None:
        """Leave the group."""
        dist.destroy_process_group()


Comm = SoloComm | GroupComm


@contextmanager
def _peers() -> Iterator[None]:
    """A failing collective means that a peer is gone: the group itself is ours and checked."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise  # a RuntimeError too, but this rank's own
    except (RuntimeError, dist.DistError) as error:
        raise PeerError("lost contact with another rank, whose own message says why") from error


def open_comm() -> Comm:
    """The communicator of this process, by the environment that torchrun sets.

    Collective: all ranks call it.

    Raises:
        ConfigError: the environment is incomplete, or the ranks don't meet.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return SoloComm()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"the ranks cannot meet ({error}); start them with torchrun") from None
    return GroupComm(int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def meet(rendezvous: Path, rank: int, world_size: int) -> Comm:
    """The communicator of processes that meet through a file, on the CPU of one machine.

    Collective: all ranks call it.

    Args:
        rendezvous: a file that isn't there yet, the same for all.
        rank: of this process.
        world_size: how many there are.
    """
    if world_size == 1:
        return SoloComm()
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world_size)
    return GroupComm(local_rank=rank, ranks_here=world_size)


def choose_device(name: str, comm: Comm) -> torch.device:
    """The device of this rank: `auto` is cuda, else mps, else cpu; one CUDA device a local rank.

    Raises:
        ConfigError: the device isn't there.
    """
    if name == "auto":
        mps = torch.backends.mps.is_available() and comm.world_size == 1
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    if name == "cuda":
        if comm.ranks_here > torch.cuda.device_count():
            raise ConfigError(
                f"device: cuda needs a device a rank; {comm.ranks_here} ranks on this node,"
                f" {torch.cuda.device_count()} CUDA devices; start fewer or set device: cpu"
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
