"""Connect the ranks of a torch process group; no other module calls collectives.

gloo carries CPU tensors. NCCL carries CUDA tensors, or gloo does, over copies on the host.
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

from cofi_dist.distributed import heartbeat
from cofi_dist.distributed.byte_messages import all_gather_bytes, broadcast_bytes
from cofi_dist.distributed.comm import Json, Reducer
from cofi_dist.distributed.faults import FaultBoard
from cofi_dist.distributed.heartbeat import Heartbeat
from cofi_dist.distributed.heartbeat_store import HeartbeatStore
from cofi_dist.distributed.host_copies import host_twins, is_on_device
from cofi_dist.distributed.item_exchange import ItemExchange
from cofi_dist.distributed.messages import decode, decode_outcome, encode, encode_outcome
from cofi_dist.distributed.node_memory import NodeMemory, can_sum, create_file
from cofi_dist.distributed.ordered_sum import TreeReducer
from cofi_dist.errors import CofiError, ConfigError, RankLostError, TrainingError
from cofi_dist.streams import exit_now

Item = TypeVar("Item", bound=Json)

# Once the ranks have met, one may prepare data for hours while the others wait for it. Until
# `set_timeout` is called, a rank is given up only if its heartbeat stops.
PREPARE_SECONDS = 86_400.0
# Numbers whose checksum is formed at once: 8 MB of temporaries.
CHECKED_AT_ONCE = 2**20
STORE_HOST = "the host that the ranks meet at (MASTER_ADDR)"


class GroupComm(ItemExchange):
    """Connect the ranks of a process group; `Comm` documents the methods.

    Collective: all ranks construct it.

    Args:
        local_rank: number of this rank on its node.
        local_world_size: number of ranks on this node.
        heartbeat_store: where the ranks leave their heartbeats; None for the group's own store.
    """

    _is_over_host = False

    def __init__(self, local_rank: int, local_world_size: int, heartbeat_store: Store | None = None) -> None:
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        self.local_rank, self.local_world_size = local_rank, local_world_size
        store = heartbeat_store or PrefixStore("heartbeat", dist.distributed_c10d._get_default_store())
        self._heartbeat = Heartbeat(HeartbeatStore(store), self.rank, self.world_size, self._give_up)
        self._faults = FaultBoard(store, self.rank, self.world_size)
        self._memory: NodeMemory | None = None  # until it is needed
        # the ranks agree, as some may not know; from here on every rank has a heartbeat
        (are_apart,) = self.max_over_ranks(int(local_world_size < self.world_size))
        self._may_share_memory = self.world_size > 1 and not are_apart

    def backend(self, device: torch.device) -> str:
        return "nccl" if device.type == "cuda" and not self._is_over_host else "gloo"

    def carry_over_host(self, is_over_host: bool) -> None:
        self._is_over_host = is_over_host

    def tree_reducer(self, subtrees: Sequence[Sequence[range]]) -> Reducer:
        return TreeReducer(self, subtrees)

    def all_reduce_(self, *partials: Tensor, overlap: Callable[[], None] | None = None) -> None:
        """Replace every tensor by its sum over ranks: in shared memory, or in a single all-reduce."""
        with self._carried(*partials) as reachable:
            self._all_reduce_(reachable, overlap)

    def _all_reduce_(self, partials: Sequence[Tensor], overlap: Callable[[], None] | None) -> None:
        if can_sum(partials) and (memory := self._shared_memory()) is not None:
            memory.all_reduce_(partials, self._start_barrier, overlap)
            return
        # one contiguous tensor is summed in place, several are packed into one
        in_place = len(partials) == 1 and partials[0].is_contiguous()
        flat = partials[0] if in_place else torch.cat([t.reshape(-1) for t in partials])
        with self._peer_errors():
            work = dist.all_reduce(flat, async_op=True)
        if overlap is not None:
            overlap()
        with self._peer_errors():
            work.wait()
        if in_place:
            return
        for t, part in zip(partials, torch.split(flat, [t.numel() for t in partials]), strict=True):
            t.copy_(part.view_as(t))

    def all_reduce_scalars(self, *partials: Tensor) -> tuple[Tensor, ...]:
        packed = torch.stack([partial.double().reshape(()) for partial in partials])
        self.all_reduce_(packed)
        return packed.unbind()

    def sum_arrays_(self, *arrays: NDArray[np.float64]) -> None:
        self.all_reduce_(*map(torch.from_numpy, arrays))

    def barrier(self) -> None:
        self.all_reduce_(torch.zeros(1))

    def max_over_ranks(self, *numbers: int) -> tuple[int, ...]:
        packed = torch.tensor(numbers)
        with self._peer_errors():
            dist.all_reduce(packed, op=dist.ReduceOp.MAX)
        return tuple(packed.tolist())

    def from_rank_zero(self, work: Callable[[], Item]) -> Item:
        message = encode_outcome(work) if self.rank == 0 else None
        with self._peer_errors():
            message = broadcast_bytes(message)
        result: Item = decode_outcome(message)
        return result

    def all_gather_objects(self, item: Item) -> list[Item]:
        with self._peer_errors():
            messages = all_gather_bytes(encode(item), self.world_size)
        return [decode(message, rank) for rank, message in enumerate(messages)]

    def gather_rows_to_rank_zero(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        with self._carried(rows, are_written=False) as (own,), self._peer_errors():
            if self.rank != 0:
                if len(rows):
                    dist.send(own.contiguous(), dst=0)
                return rows
            parts = [own.cpu()]
            for source, count in enumerate(counts[1:], start=1):
                part = own.new_empty(count, *rows.shape[1:])
                if count:
                    dist.recv(part, src=source)
                parts.append(part.cpu())
        return torch.cat(parts)

    def require_replicated(self, tensor: Tensor, name: str) -> None:
        """Check by a checksum of its bits that a tensor is the same on every rank."""
        bits = {4: torch.int32, 8: torch.int64}[tensor.element_size()]
        # in pieces, because a sum in a wider type converts all that it sums first
        pieces = torch.split(tensor.view(bits).view(-1), CHECKED_AT_ONCE)
        checksum = torch.stack([piece.sum(dtype=torch.int64) for piece in pieces]).sum()
        # the largest of all checksums, and minus the smallest
        bounds = torch.stack([checksum, -checksum])
        with self._carried(bounds) as (reachable,), self._peer_errors():
            dist.all_reduce(reachable, op=dist.ReduceOp.MAX)
        if bounds[0] != -bounds[1]:
            raise TrainingError(
                f"{name} differs between ranks: its replicas drifted apart; a bug, or bad hardware",
                shared=True,
            )

    def require_same(self, item: Json, name: str) -> None:
        items = self.all_gather_objects(item)
        for rank, other in enumerate(items):
            if other != items[0]:
                raise ConfigError(
                    f"{name} is another one for rank {rank} than for rank 0; give all ranks the same files",
                    shared=True,
                )

    def set_timeout(self, seconds: float) -> None:
        dist.distributed_c10d._set_pg_timeout(timedelta(seconds=seconds))

    def close(self) -> None:
        """Leave the group; rank 0, which holds the store, is the last to leave."""
        with suppress(RankLostError):  # a rank that has left already is not needed any more
            self.barrier()  # other ranks may still be at work, so this one keeps watching them
            self._heartbeat.stop()
            self.set_timeout(_patience())
            self.barrier()  # from here on no rank talks to the store
        self._heartbeat.stop()
        dist.destroy_process_group()

    def abandon(self, error: CofiError) -> CofiError:
        fault = self._faults.found
        if error.shared and fault is None:
            self.close()  # all ranks have raised it, and are in step
            return error
        fault = fault or self._faults.publish(error)
        self._heartbeat.stop()
        # What the calls that were cut short hold would keep the connections open.
        for each in (error, error.__context__):
            if each is not None:
                traceback.clear_frames(each.__traceback__)
        dist.destroy_process_group()  # which ends the waiting of the other ranks
        self._faults.await_readers()
        return fault

    @contextmanager
    def _carried(
        self, *tensors: Tensor, are_read: bool = True, are_written: bool = True
    ) -> Iterator[Sequence[Tensor]]:
        """Yield the tensors if the group can carry them, else twins on the host, as `host_twins` says."""
        if not (self._is_over_host and is_on_device(tensors[0])):
            yield tensors
            return
        with host_twins(*tensors, are_read=are_read, are_written=are_written) as twins:
            yield twins

    def _shared_memory(self) -> NodeMemory | None:
        """Return the memory that the ranks share; None if they are not on one machine, or it has no room."""
        if self._memory is None and self._may_share_memory:
            self.max_over_ranks(0)  # once all are here, none is waited for while the file is there
            path = self.from_rank_zero(lambda: create_file(self.world_size))
            try:
                with suppress(OSError):  # in a container of its own, a rank finds no such file
                    self._memory = NodeMemory(Path(path), self.rank, self.world_size)
                (is_lacking,) = self.max_over_ranks(int(self._memory is None))
            finally:
                if self.rank == 0 and path:
                    Path(path).unlink(missing_ok=True)  # what is mapped stays until the ranks end
            if is_lacking:
                self._memory, self._may_share_memory = None, False
        return self._memory

    def _start_barrier(self) -> Callable[[], None]:
        """Tell the other ranks that this one has come so far, and return what waits for them."""
        with self._peer_errors():
            work = dist.all_reduce(torch.zeros(1), async_op=True)

        def wait() -> None:
            with self._peer_errors():
                work.wait()

        return wait

    def _give_up(self, rank: int | None) -> None:
        """Exit at once, since a collective that waits for the lost rank could wait forever."""
        lost = STORE_HOST if rank is None else f"rank {rank}"
        why = f"lost contact with {lost}, which has given no sign of life for {_patience():.0f} s"
        exit_now(RankLostError(f"rank {self.rank}: {why}"))

    @contextmanager
    def _peer_errors(self) -> Iterator[None]:
        """Raise RankLostError if a collective fails: the group is ours and checked, so a peer is gone."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise  # also a RuntimeError, but this rank's own
        except (RuntimeError, dist.DistError) as error:
            if (fault := self._faults.read()) is not None:
                raise fault from None
            silent = self._heartbeat.silent_ranks()
            lost = STORE_HOST if silent is None else f"rank {' and '.join(map(str, silent))}"
            lost = "another rank" if silent == [] else f"{lost}, which gives no sign of life"
            why = "its own message, if it had time for one, says why"
            raise RankLostError(f"lost contact with {lost}; {why}") from error


def _patience() -> float:
    """Return how many seconds a rank may be silent before it is given up."""
    return heartbeat.MAX_MISSED_BEATS * heartbeat.BEAT_SECONDS
