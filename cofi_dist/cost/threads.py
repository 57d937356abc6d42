"""How many threads the compiled loops run on."""

import numba
import torch


def set_threads() -> int:
    """Let the loops run on as many threads as torch, or as numba may have; how many these are.

    They share one OpenMP pool, whose size numba's first loop sets to its own number: torch gets its back.
    """
    of_torch = torch.get_num_threads()
    threads = min(of_torch, int(numba.config.NUMBA_NUM_THREADS))
    numba.set_num_threads(threads)
    if torch.get_num_threads() != of_torch:
        torch.set_num_threads(of_torch)
    return threads
