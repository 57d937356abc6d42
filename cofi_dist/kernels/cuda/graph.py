"""An epoch as a CUDA graph: one call starts all its kernels, which is what small problems wait for."""

from collections.abc import Callable

import torch

# Calls before the one that is recorded: they compile what is compiled when it is first used.
WARM_UP = 2


class Recorded:
    """Does `work`; after a few calls, by playing back what it asked the device to do.

    Args:
        work: the same kernels on the same tensors at every call; it neither waits for the device nor reads
            from it.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work, self._calls = work, 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        self._calls += 1
        if self._calls <= WARM_UP:
            self._work()
            return
        if self._graph is None:
            graph = torch.cuda.CUDAGraph()
            # other threads, such as a caller's own, may use the device meanwhile
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._work()
            self._graph = graph
        self._graph.replay()
