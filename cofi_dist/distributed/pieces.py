"""Send tensors to several ranks while as many arrive, over connections that gloo keeps.

gloo's own all-gather and all-to-all hand a whole tensor to the network at once, both ways. Over a link that
is slower than memory the two directions then hold each other up, and it carries little more than half of what
it could. In pieces, of which few are under way, it is full in both directions.
"""

from collections import deque
from collections.abc import Sequence
from itertools import chain

import torch
import torch.distributed as dist
from torch import Tensor

PIECE_BYTES = 2**21
# Pieces that one rank sends at the same time: while one ends, the next is under way.
UNDER_WAY = 2


def swap(sent: Sequence[Tensor], received: Sequence[Tensor], rank: int) -> None:
    """Send a tensor to each other rank, and receive one from each. Collective.

    Args:
        sent: what goes to each rank, flat and contiguous, on the CPU; that of this rank is left alone.
        received: where what comes from each rank goes, likewise.
        rank: number of this rank.
    """
    # the next rank first, so that no rank is sent to by all the others at once
    distances = range(1, len(sent))
    senders = [(rank - distance) % len(sent) for distance in distances]
    receivers = [(rank + distance) % len(sent) for distance in distances]
    # What arrives is expected from the start, as nothing leaves a rank before it is.
    arriving = [dist.irecv(piece, src) for src in senders for piece in _pieces(received[src])]
    leaving: deque[dist.Work | None] = deque()
    for receiver in receivers:
        for piece in _pieces(sent[receiver]):
            leaving.append(dist.isend(piece, receiver))
            if len(leaving) == UNDER_WAY:
                _wait(leaving.popleft())
    for work in chain(leaving, arriving):
        _wait(work)


def _pieces(tensor: Tensor) -> Sequence[Tensor]:
    return torch.split(tensor, PIECE_BYTES // tensor.element_size()) if len(tensor) else ()


def _wait(work: "dist.Work | None") -> None:
    if work is not None:  # as it is only for ranks that are not in the group
        work.wait()
