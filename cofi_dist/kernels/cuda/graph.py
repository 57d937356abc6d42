"""Record work on a CUDA device as a graph, and replay it.

One call then launches all its kernels. On small problems an epoch otherwise spends most of its time on
launching them one by one.
"""

from collections.abc import Callable

import torch

# Calls that run as they are before one is recorded. They compile what is compiled on first use.
WARM_UP_CALLS = 2


class GraphedCallable:
    """Call `work`; after a few calls, by replaying the kernels that it launched.

    Args:
        work: launches the same kernels on the same tensors at every call, and neither waits for the device
            nor reads from it.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work, self._calls = work, 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        self._calls += 1
        if self._calls <= WARM_UP_CALLS:
            self._work()
            return
        if self._graph is None:
            graph = torch.cuda.CUDAGraph()
            # thread_local: other threads, such as the caller's own, may use the device meanwhile
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._work()  # recorded, not executed
            self._graph = graph
        self._graph.replay()
