"""numba's compiler, with its results kept where they are never taken for those of another source."""

from collections.abc import Callable
from typing import Any

from numba import njit

from cofi_dist.kernels.cpu.compiled_cache import LoopCache

# a product and a sum may be rounded as one, but sums are not reordered (see rowvectors.py)
ROW = {"fastmath": {"contract"}, "error_model": "numpy"}
# as if written where they are called: a call would count references to its arrays, which threads share
INLINE = {**ROW, "inline": "always"}
ALL = {**ROW, "parallel": True, "nogil": True}


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Numba's `njit`, kept on disk."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(**options)(function)
        dispatcher._cache = LoopCache(function)
        return dispatcher

    return decorate
