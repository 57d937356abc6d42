"""Compile loops with numba, keep the machine code on disk, and set the number of threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba
import torch

from cofi_dist.errors import ConfigError
from cofi_dist.kernels.cpu.compiled_cache import LoopCache

# A product and a sum may be rounded as one (FMA), but the order of sums is kept (see simd.py).
CONTRACT = {"fastmath": {"contract"}, "error_model": "numpy"}
PARALLEL = {"parallel": True, "nogil": True}


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function with `numba.njit`, and keep the machine code on disk.

    The code is never used for another version of the source.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        dispatcher._cache = LoopCache(function)
        return dispatcher

    return decorate


# Allocates no arrays, and therefore counts no references to them: threads would contend for the counters, and
# for rows with few ratings the counting would take longer than the sums.
row_kernel = compiled(**CONTRACT, _nrt=False)
# Copied into the caller, without a call.
inlined = compiled(**CONTRACT, inline="always")
parallel = compiled(**CONTRACT, **PARALLEL)
# Without FMA: an entry's result does not depend on whether a vector or the remainder loop computes it.
parallel_unfused = compiled(**PARALLEL, error_model="numpy")


def require_loops() -> None:
    """Check that numba can compile the loops and start threads.

    Raises:
        ConfigError: an environment variable forbids it.
    """
    if numba.config.DISABLE_JIT:
        raise ConfigError("NUMBA_DISABLE_JIT: this needs compiled loops; unset it")
    try:
        match_torch_threads()
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"NUMBA_THREADING_LAYER: numba can start no threads ({reason}); unset it") from None


def loops_may_run_at_once() -> bool:
    """Tell whether several threads of this process may run parallel loops at the same time."""
    try:
        _start_threads()  # so that it is known what has started them
        return str(numba.threading_layer()) in ("omp", "tbb")
    except ValueError:  # no threads can be started; whoever needs the loops says why
        return False


@contextmanager
def numba_threads_restored() -> Iterator[None]:
    """Restore numba's number of threads, which loops of others use too, at the end of the context."""
    try:
        before = _start_threads()
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        numba.set_num_threads(before)


def match_torch_threads() -> int:
    """Set numba's number of threads to torch's, at most to what numba may have, and return it.

    Raises:
        ValueError: numba can start no threads.
    """
    _start_threads()
    threads = min(torch.get_num_threads(), int(numba.config.NUMBA_NUM_THREADS))
    numba.set_num_threads(threads)
    return threads


def _start_threads() -> int:
    """Start numba's threads, if that has not been done, and return numba's number of threads.

    numba and torch share one OpenMP pool. numba's first loop sets the pool's size to its own number of
    threads, so torch's number is restored afterwards.
    """
    of_torch = torch.get_num_threads()
    threads = int(numba.get_num_threads())
    if torch.get_num_threads() != of_torch:
        torch.set_num_threads(of_torch)
    return threads
