"""SoloComm and GroupComm: every call works with one process too, so nothing elsewhere asks for it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

from cofi_dist.distributed import heartbeat
from cofi_dist.distributed.heartbeat import Pulse
from cofi_dist.distributed.messages import ALL_GATHER, Json, all_gather, broadcast, outcome_of, result_of
from cofi_dist.errors import ConfigError, RankLostError, TrainingError
from cofi_dist.streams import exit_now

T = TypeVar("T", bound=Json)

# Once the ranks have met, one may prepare for hours while the others wait for it: until `limit`, only a
# rank without any sign of life is given up.
PREPARE_SECONDS = 86_400.0
THEIR_STORE = "the host that the ranks meet at (MASTER_ADDR)"


class SoloComm:
    """One process. Sums are left as they are, so results stay bit-identical to the notebook."""

    rank = 0
    world_size = 1
    local_rank = 0
    ranks_here = 1

    def backend(self, device: torch.device) -> str:
        """Name of what carries tensors of this device."""
        return "none"

    def sum_(self, *tensors: Tensor, meanwhile: Callable[[], None] | None = None) -> None:
        """Replace every tensor by its sum over ranks."""
        if meanwhile is not None:
            meanwhile()

    def sum_scalars(self, *scalars: Tensor) -> tuple[Tensor, ...]:
        """Sums over ranks of tensors of one number, 0-dim, in float64."""
        return tuple(scalar.reshape(()) for scalar in scalars)

    def on_first(self, work: Callable[[], T]) -> T:
        """What `work` returns on rank 0, on every rank."""
        return work()

    def agree(self) -> None:
        """Return once every rank has come this far."""

    def largest(self, *numbers: int) -> tuple[int, ...]:
        """The largest of each over the ranks."""
        return numbers

    def gather(self, item: T) -> list[T]:
        """Every rank's item, in rank order."""
        return [item]

    def gather_rows(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """All ranks' rows in rank order, on the CPU of rank 0."""
        return rows.cpu()

    def require_equal(self, tensor: Tensor, name: str) -> None:
        """Raise TrainingError unless the tensor has the same bits on every rank."""

    def require_same(self, item: Json, name: str) -> None:
        """Raise ConfigError unless what each rank has found is the same."""

    def limit(self, seconds: float) -> None:
        """Nobody is waited for."""

    def close(self) -> None:
        """Leave the group."""


class GroupComm:
    """The ranks of a process group; gloo carries CPU tensors, nccl CUDA tensors.

    Every method is collective: all ranks call it, in the same order. A rank whose peer is gone
    gets RankLostError.

    Args:
        local_rank: of this process on its node.
        ranks_here: on this node.
        words: where the ranks leave signs of life; None for the group's own store.
    """

    def __init__(self, local_rank: int, ranks_here: int, words: Store | None = None) -> None:
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        self.local_rank, self.ranks_here = local_rank, ranks_here
        words = words or PrefixStore("pulse", dist.distributed_c10d._get_default_store())
        self._pulse = Pulse(_Words(words), self.rank, self.world_size, self._give_up)
        self.agree()  # so that every pulse can be felt

    def backend(self, device: torch.device) -> str:
        """Name of what carries tensors of this device."""
        return "nccl" if device.type == "cuda" else "gloo"

    def sum_(self, *tensors: Tensor, meanwhile: Callable[[], None] | None = None) -> None:
        """Replace every tensor by its sum over ranks, in one all-reduce.

        Equal shapes and dtypes in the same order on all ranks.

        Args:
            tensors: of this rank.
            meanwhile: is called while the sum is under way, and touches none of them.
        """
        alone = len(tensors) == 1 and tensors[0].is_contiguous()
        flat = tensors[0] if alone else torch.cat([t.reshape(-1) for t in tensors])
        with self._peers():
            work = dist.all_reduce(flat, async_op=True)
        if meanwhile is not None:
            meanwhile()
        with self._peers():
            work.wait()
        if alone:
            return
        for t, part in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
            t.copy_(part.view_as(t))

    def sum_scalars(self, *scalars: Tensor) -> tuple[Tensor, ...]:
        """Sums over ranks of tensors of one number, 0-dim, in float64."""
        packed = torch.stack([s.double().reshape(()) for s in scalars])
        self.sum_(packed)
        return packed.unbind()

    def on_first(self, work: Callable[[], T]) -> T:
        """What `work` returns on rank 0, on every rank; as JSON has it, so a tuple arrives as a list.

        Raises:
            CofiError: what `work` raised on rank 0, on every rank, marked as shared.
            TrainingError: rank 0 sent something else.
        """
        mine = outcome_of(work) if self.rank == 0 else None
        with self._peers():
            said = broadcast(mine)
        result: T = result_of(said)
        return result

    def exchange(self, parts: Tensor, lengths: Sequence[int]) -> Tensor:
        """What every rank has for this one, one after the other, flat: parts[r] goes to rank r.

        Args:
            parts: (world_size, ...), contiguous.
            lengths: of what comes from each.
        """
        came = parts.new_empty(sum(lengths))
        with self._peers():
            sent = [parts[0].numel()] * self.world_size
            dist.all_to_all_single(came, parts.view(-1), list(lengths), sent)
        return came

    def collect(self, part: Tensor, whole: Tensor) -> None:
        """Every rank's part, flat and all of one length, one after the other to `whole`."""
        with self._peers():
            ALL_GATHER(whole, part)

    def agree(self) -> None:
        """Return once every rank has come this far."""
        self.sum_(torch.zeros(1))

    def largest(self, *numbers: int) -> tuple[int, ...]:
        """The largest of each over the ranks."""
        packed = torch.tensor(numbers)
        with self._peers():
            dist.all_reduce(packed, op=dist.ReduceOp.MAX)
        return tuple(packed.tolist())

    def gather(self, item: T) -> list[T]:
        """Every rank's item, in rank order, on every rank; as JSON has it, as with `on_first`.

        Raises:
            TrainingError: a rank sent something else.
        """
        with self._peers():
            return all_gather(item, self.world_size)

    def gather_rows(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """All ranks' rows in rank order, on the CPU of rank 0; elsewhere the rows as given.

        Args:
            rows: this rank's, (counts[rank], ...).
            counts: rows of each rank.
        """
        with self._peers():
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
        """Raise TrainingError unless the tensor has the same bits on every rank (by a checksum)."""
        bits = {4: torch.int32, 8: torch.int64}[tensor.element_size()]
        checksum = tensor.view(bits).sum(dtype=torch.int64)
        both = torch.stack([checksum, -checksum])
        with self._peers():
            dist.all_reduce(both, op=dist.ReduceOp.MAX)
        if both[0] != -both[1]:
            raise TrainingError(
                f"{name} differs between ranks: its replicas drifted apart; a bug, or bad hardware",
                shared=True,
            )

    def require_same(self, item: Json, name: str) -> None:
        """Raise ConfigError, shared, unless what each rank has found is the same."""
        items = self.gather(item)
        for rank, other in enumerate(items):
            if other != items[0]:
                raise ConfigError(
                    f"{name} is another one for rank {rank} than for rank 0; give all ranks the same files",
                    shared=True,
                )

    def limit(self, seconds: float) -> None:
        """From now on, a collective in which a rank is missed for so long fails."""
        _set_timeout(seconds)

    def _give_up(self, rank: int | None) -> None:
        """Leave at once: whatever waits for that rank could wait forever."""
        who = THEIR_STORE if rank is None else f"rank {rank}"
        seconds = heartbeat.LOST_BEATS * heartbeat.BEAT_SECONDS
        said = f"lost contact with {who}, which has given no sign of life for {seconds:.0f} s"
        exit_now(RankLostError(f"rank {self.rank}: {said}"))

    def close(self) -> None:
        """Leave the group; rank 0, which holds the store, last."""
        with suppress(RankLostError):  # they have left already: nothing is asked of them any more
            self.agree()  # the others may have work to do: so long they are watched
            self._pulse.stop()
            _set_timeout(heartbeat.LOST_BEATS * heartbeat.BEAT_SECONDS)
            self.agree()  # nobody talks to the store any more
        self._pulse.stop()
        dist.destroy_process_group()

    @contextmanager
    def _peers(self) -> Iterator[None]:
        """A failing collective means that a peer is gone: the group itself is ours and checked."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise  # a RuntimeError too, but this rank's own
        except (RuntimeError, dist.DistError) as error:
            silent = self._pulse.silent()
            who = THEIR_STORE if silent is None else f"rank {' and '.join(map(str, silent))}"
            who = "another rank" if silent == [] else f"{who}, which gives no sign of life"
            why = "its own message, if it had time for one, says why"
            raise RankLostError(f"lost contact with {who}; {why}") from error


Comm = SoloComm | GroupComm


class _Words:
    """A store as a pulse wants it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def set(self, key: str, value: str) -> None:
        with self._is_there():
            self._store.set(key, value)

    def get(self, key: str) -> bytes:
        with self._is_there():
            return self._store.get(key)

    @contextmanager
    def _is_there(self) -> Iterator[None]:
        try:
            yield
        except dist.DistNetworkError as error:  # not asked again: torch would tell of it at length
            raise ConnectionError(str(error)) from None


def _set_timeout(seconds: float) -> None:
    dist.distributed_c10d._set_pg_timeout(timedelta(seconds=seconds))
