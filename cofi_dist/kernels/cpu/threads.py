"""How many threads the compiled loops run on."""

import numba
import torch

from cofi_dist.errors import ConfigError


def require_loops() -> None:
    """Raise ConfigError where the environment keeps numba from compiling them, or from starting threads."""
    if numba.config.DISABLE_JIT:
        raise ConfigError("NUMBA_DISABLE_JIT: this needs compiled loops; unset it")
    try:
        set_threads()
    except ValueError as error:
        said = str(error).partition("\n")[0]
        raise ConfigError(f"NUMBA_THREADING_LAYER: numba can start no threads ({said}); unset it") from None


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
