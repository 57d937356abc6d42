"""Say what ranks can ask of each other, and answer it for a run of one process.

One process has a SoloComm, several ranks have a GroupComm (`process_group`). Both fulfil `Comm`, so no
other module needs to know how many ranks there are. Nothing here imports torch, which takes seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from cofi_dist.errors import CofiError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

Pairs: TypeAlias = "Sequence[tuple[Tensor, Tensor]]"
Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Item = TypeVar("Item", bound=Json)


class Reducer(Protocol):
    """Add up partial sums over all users.

    A partial sum has shape (T, ...): one entry for each of the T subtrees of blocks that the rank holds
    (`cofi_dist.sharding.reduction_tree`). Every method is collective.
    """

    def all_reduce_(self, *partials: "Tensor", overlap: Callable[[], None] | None = None) -> None:
        """Replace the first entry of each tensor by the sum of all entries of all ranks.

        Args:
            partials: (T, ...) each, of the same dtypes and in the same order on all ranks; apart from T,
                of the same shapes. Entries after the first are left as they are.
            overlap: is called while the sum is under way. It must not touch `partials`.
        """
        ...

    def exchange(self, gathers: Pairs, scatters: Pairs, overlap: Callable[[], None]) -> None:
        """Gather slices of rows from all ranks, and sum rows over the ranks slice by slice.

        Args:
            gathers: this rank's slice, (slice, ...), and where the slices of all ranks go, in rank order,
                (world_size * slice, ...); contiguous, of the same shapes on all ranks.
            scatters: partial sums, (T, world_size * slice, ...), and where the sum of all entries of all
                ranks goes, for this rank's slice, (slice, ...); contiguous. The partial sums may be
                overwritten.
            overlap: is called while all that is under way. It must touch none of the tensors.
        """
        ...

    def fetch(
        self,
        sent: "Tensor",
        sent_counts: Sequence[int],
        received: "Tensor",
        received_counts: Sequence[int],
        overlap: Callable[[], None],
    ) -> None:
        """Send rows of its own to each rank, and receive rows from each.

        Args:
            sent: the rows for rank 0, then those for rank 1, and so on, (rows, ...); contiguous.
            sent_counts: how many for each rank.
            received: where the rows from rank 0 go, and so on, (rows, ...); contiguous.
            received_counts: how many from each rank.
            overlap: is called while that is under way. It must touch neither tensor.
        """
        ...

    def all_reduce_scalars(self, *partials: "Tensor") -> "tuple[Tensor, ...]":
        """Return the sum of all entries of all ranks for each tensor, (T,), as a 0-dim tensor.

        Several ranks add in float64. A single process returns its numbers in their own dtype.
        """
        ...


class Comm(Reducer, Protocol):
    """Connect this process to the other ranks.

    A Comm is itself a Reducer if each rank holds one subtree: it sums tensors of any shape, as T is 1.
    Its order of additions, and so the last bits of a sum, depend on the number of ranks.

    Every method except `backend`, `carry_over_host` and `tree_reducer` is collective: all ranks call it, in
    the same order. If a peer is gone, it raises RankLostError.

    Attributes:
        rank: number of this rank.
        world_size: number of ranks.
        local_rank: number of this rank on its node.
        local_world_size: number of ranks on this node.
    """

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int

    def backend(self, device: "torch.device") -> str:
        """Name the library that carries tensors of this device."""
        ...

    def carry_over_host(self, is_over_host: bool) -> None:
        """Let gloo carry tensors of CUDA devices, over copies on the host, or nccl; all ranks call it.

        With nccl, each rank needs a device of its own.
        """
        ...

    def sum_arrays_(self, *arrays: "NDArray[np.float64]") -> None:
        """Replace each array by the sum of those of all ranks, of the same shapes on all of them."""
        ...

    def tree_reducer(self, subtrees: Sequence[Sequence[range]]) -> Reducer:
        """Return a reducer whose sums have the same bits on any number of ranks.

        Args:
            subtrees: of every rank, as ranges of the blocks of all ranks.
        """
        ...

    def barrier(self) -> None:
        """Return once every rank has called it."""
        ...

    def max_over_ranks(self, *numbers: int) -> tuple[int, ...]:
        """Return the largest value that any rank has, for each number."""
        ...

    def from_rank_zero(self, work: Callable[[], Item]) -> Item:
        """Call `work` on rank 0 only, and return its result on every rank.

        The result is sent as JSON, so a tuple arrives as a list.

        Raises:
            CofiError: what `work` raised on rank 0, on every rank, marked as shared.
            TrainingError: rank 0 sent something other than a result.
        """
        ...

    def all_gather_objects(self, item: Item) -> list[Item]:
        """Return every rank's item, in rank order; sent as JSON, like the result of `from_rank_zero`.

        Raises:
            TrainingError: a rank sent something other than JSON.
        """
        ...

    def gather_rows_to_rank_zero(self, rows: "Tensor", counts: Sequence[int]) -> "Tensor":
        """Return all ranks' rows in rank order, on the CPU of rank 0; other ranks get their own rows back.

        Args:
            rows: of this rank, (counts[rank], ...).
            counts: number of rows of each rank.
        """
        ...

    def all_to_all(
        self, parts: "Tensor", lengths: Sequence[int], sent_lengths: Sequence[int] | None = None
    ) -> "Tensor":
        """Send a part to each rank, and return what this rank received, flat and in rank order.

        Args:
            parts: one after the other, contiguous; parts[r] goes to rank r if they are of equal size.
            lengths: number of elements received from each rank.
            sent_lengths: number of elements sent to each rank; None if they are equal.
        """
        ...

    def all_gather(self, part: "Tensor", whole: "Tensor") -> None:
        """Copy every rank's part to `whole`, in rank order.

        Args:
            part: flat, of the same length on all ranks.
            whole: flat, `world_size` times as long.
        """
        ...

    def require_replicated(self, tensor: "Tensor", name: str) -> None:
        """Check that a tensor has the same bits on every rank.

        Raises:
            TrainingError: it has not; on every rank, marked as shared.
        """
        ...

    def require_same(self, item: Json, name: str) -> None:
        """Check that what each rank has found is the same.

        Raises:
            ConfigError: it is not; on every rank, marked as shared.
        """
        ...

    def set_timeout(self, seconds: float) -> None:
        """Let every later collective fail if a rank has not joined it after this time."""
        ...

    def close(self) -> None:
        """Leave the group; nothing may be asked of the other ranks afterwards."""
        ...

    def abandon(self, error: CofiError) -> CofiError:
        """Leave the group because of an error of this rank, and let the other ranks raise it too.

        Not collective. A rank that waits for this one raises the error from the method that it waits in.

        Returns:
            The error for this rank to raise: the first one of all ranks.
        """
        ...


class SoloComm:
    """Answer for a single process.

    Sums are left as they are, so results stay bit-identical to the notebook's.
    """

    rank = 0
    world_size = 1
    local_rank = 0
    local_world_size = 1

    def backend(self, device: "torch.device") -> str:
        return "none"

    def carry_over_host(self, is_over_host: bool) -> None:
        pass

    def all_reduce_(self, *partials: "Tensor", overlap: Callable[[], None] | None = None) -> None:
        if overlap is not None:
            overlap()

    def all_reduce_scalars(self, *partials: "Tensor") -> "tuple[Tensor, ...]":
        return tuple(partial.reshape(()) for partial in partials)

    def exchange(self, gathers: Pairs, scatters: Pairs, overlap: Callable[[], None]) -> None:
        overlap()
        for part, whole in gathers:
            whole.copy_(part)
        for partials, own in scatters:
            own.copy_(partials[0])

    def fetch(
        self,
        sent: "Tensor",
        sent_counts: Sequence[int],
        received: "Tensor",
        received_counts: Sequence[int],
        overlap: Callable[[], None],
    ) -> None:
        overlap()
        received.copy_(sent)

    def sum_arrays_(self, *arrays: "NDArray[np.float64]") -> None:
        pass

    def tree_reducer(self, subtrees: Sequence[Sequence[range]]) -> Reducer:
        return self  # all blocks are one subtree, which is summed already

    def barrier(self) -> None:
        pass

    def max_over_ranks(self, *numbers: int) -> tuple[int, ...]:
        return numbers

    def from_rank_zero(self, work: Callable[[], Item]) -> Item:
        return work()

    def all_gather_objects(self, item: Item) -> list[Item]:
        return [item]

    def gather_rows_to_rank_zero(self, rows: "Tensor", counts: Sequence[int]) -> "Tensor":
        return rows.cpu()

    def all_to_all(
        self, parts: "Tensor", lengths: Sequence[int], sent_lengths: Sequence[int] | None = None
    ) -> "Tensor":
        return parts.reshape(-1).clone()

    def all_gather(self, part: "Tensor", whole: "Tensor") -> None:
        whole.copy_(part)

    def require_replicated(self, tensor: "Tensor", name: str) -> None:
        pass

    def require_same(self, item: Json, name: str) -> None:
        pass

    def set_timeout(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass

    def abandon(self, error: CofiError) -> CofiError:
        return error
