"""numba's compiler, with its results kept where they are never taken for those of another source."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import config, njit

HERE = Path(__file__).parent
SOURCES = ("compiling.py", "rowvectors.py", "rowkernels.py", "loops.py", "factorloops.py")

# a product and a sum may be rounded as one, but sums are not reordered (see rowvectors.py)
ROW = {"fastmath": {"contract"}, "error_model": "numpy"}
# as if written where they are called: a call would count references to its arrays, which threads share
INLINE = {**ROW, "inline": "always"}
ALL = {**ROW, "parallel": True, "nogil": True}


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Numba's `njit`, kept on disk.

    What is inlined comes from several files, while numba looks at the date of one: so the folder's name is a
    hash of them all. It lies below NUMBA_CACHE_DIR, beside this file, or, where neither can be written,
    in a temporary folder of this process.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        usual, config.CACHE_DIR = config.CACHE_DIR, str(FOLDER)
        try:
            return njit(cache=True, **options)(function)
        finally:
            config.CACHE_DIR = usual

    return decorate


def _folder() -> Path:
    source = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in SOURCES)).hexdigest()[:16]
    for parent in filter(
        None, (config.CACHE_DIR, HERE / "__pycache__", Path.home() / ".cache" / "cofi_dist")
    ):
        folder = Path(parent) / f"loops-{source}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="cofi_dist-loops-"))


FOLDER = _folder()
