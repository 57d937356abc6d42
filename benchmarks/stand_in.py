"""What benchmarks.plan puts in place of 63 other ranks: their messages, and the ratings of their users."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.config import Feedback
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.sharding.ranges import UserRange

Pairs = Sequence[tuple[Tensor, Tensor]]


class OneShard:
    """Made-up ratings of which only one rank's are made: an `UnsplitSource`.

    The rank's users have long-tailed numbers of ratings on items of long-tailed popularity, as those of
    `data.synthetic` have. The users of all other ranks have the same number each.
    """

    feedback: Feedback = "explicit"

    def __init__(self, users: int, items: int, ratings: int, world_size: int, rank: int) -> None:
        self.num_users, self.num_items, self.notes = users, items, list[str]()
        cuts = [users * number // world_size for number in (rank, rank + 1)]
        self._own = UserRange(*cuts)
        share = ratings // world_size
        self._made_up = SyntheticRatings(len(self._own), items, share, 0)
        self.scale = self._made_up.scale
        self._counts = np.empty(users, np.int64)
        for others, total in (
            (slice(0, cuts[0]), rank * share),
            (slice(cuts[1], users), (world_size - rank - 1) * share),
        ):
            count = len(range(users)[others])
            self._counts[others] = (np.arange(count) + 1) * total // max(1, count)
            self._counts[others] = np.diff(self._counts[others], prepend=0)
        self._counts[cuts[0] : cuts[1]] = self._made_up.counts

    def ratings_per_user(self) -> NDArray[np.int64]:
        """Of all ranks' users, (num_users,)."""
        return self._counts

    def load(self, users: UserRange) -> Ratings:
        """Of the rank's own users; `user` counts from `users.start`."""
        assert (users.start, users.stop) == (self._own.start, self._own.stop), "only its own users' are made"
        return self._made_up.load(UserRange(0, len(users)))

    def fingerprint(self) -> str:
        """What the ratings are made from."""
        return "one shard"


@dataclass
class Clock:
    """What messages would have taken.

    Attributes:
        sent: bytes that this rank sends.
        seconds: that its messages take.
        waited: what of that is left after the work that is done meanwhile.
    """

    sent: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0


class ModelledComm(SoloComm):
    """Answers for one of many ranks, on a network that takes latency + bytes / bandwidth a message.

    Sums over the ranks leave the tensors as they are. Rows of other ranks' items are copies of its own. What
    gloo copies on the way over a network is copied here, too, so that memory and time have it.
    """

    local_world_size = 1

    def __init__(self, world_size: int, rank: int, bandwidth: float, latency: float) -> None:
        self.world_size, self.rank, self.clock = world_size, rank, Clock()
        self._bandwidth, self._latency = bandwidth, latency

    def _take(self, sent: float, messages: int, overlap: Callable[[], None] | None) -> None:
        """Work meanwhile, and count what is waited for."""
        start = time.process_time()
        if overlap is not None:
            overlap()
        seconds = messages * self._latency + sent / self._bandwidth
        clock, left = self.clock, seconds - (time.process_time() - start)
        clock.sent, clock.seconds, clock.waited = (
            clock.sent + sent,
            clock.seconds + seconds,
            clock.waited + max(0.0, left),
        )

    @property
    def _others(self) -> float:
        return (self.world_size - 1) / self.world_size

    def all_reduce_(self, *partials: Tensor, overlap: Callable[[], None] | None = None) -> None:
        flat = partials[0] if len(partials) == 1 else torch.cat([each.reshape(-1) for each in partials])
        self._take(2 * self._others * flat.nbytes, 1, overlap)
        if len(partials) > 1:
            pieces = torch.split(flat, [each.numel() for each in partials])
            for each, piece in zip(partials, pieces, strict=True):
                each.copy_(piece.view_as(each))

    def all_reduce_scalars(self, *partials: Tensor) -> tuple[Tensor, ...]:
        self._take(16.0 * len(partials), 1, None)
        return tuple(partial.double().reshape(()) for partial in partials)

    def exchange(self, gathers: Pairs, scatters: Pairs, overlap: Callable[[], None]) -> None:
        sent = sum(whole.nbytes for _, whole in gathers) + sum(sums.nbytes for sums, _ in scatters)
        self._take(self._others * sent, len(gathers) + len(scatters), overlap)
        for part, whole in gathers:
            whole.view(self.world_size, *part.shape).copy_(part.expand(self.world_size, *part.shape))
        for sums, own in scatters:
            received = sums.view(self.world_size, *own.shape).clone()
            own.copy_(received[self.rank])

    def fetch(
        self,
        sent: Tensor,
        sent_counts: Sequence[int],
        received: Tensor,
        received_counts: Sequence[int],
        overlap: Callable[[], None],
    ) -> None:
        """Other ranks ask as much of this one as it asks of them."""
        self._take(self._others * sent.nbytes, 1, overlap)
        received.view(-1).copy_(sent.reshape(-1).clone())

    def all_gather_objects(self, item: Any) -> list[Any]:
        return [item] * self.world_size
