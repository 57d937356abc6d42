"""Run the Triton kernels by Triton's interpreter, on a CPU, so that they are tested without a device too.

tests/conftest.py asks for the interpreter, before anything imports Triton.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from unittest import mock

import pytest

from cofi_dist.kernels.rating_matrix import Backend

INTERPRETED = find_spec("triton") is not None and "TRITON_INTERPRET" in os.environ
needs_triton = pytest.mark.skipif(
    not INTERPRETED, reason="Triton is not made for this platform, or there is a device: see tests/gpu"
)


@contextmanager
def interpreted(piece: int = 1024) -> Iterator[None]:
    """Cut rows into pieces of `piece` ratings, and read these a few at a time."""
    from cofi_dist.kernels.cuda import backend

    with mock.patch.object(backend, "PIECE", piece), mock.patch.object(backend, "TILE", 64):
        yield


def triton_backend() -> Backend:
    """Return the back end of CUDA devices."""
    from cofi_dist.kernels.cuda.backend import TritonKernels

    return TritonKernels
