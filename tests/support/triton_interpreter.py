"""Triton's kernels by its interpreter, on a CPU: what they compute is tested where no device is.

tests/conftest.py asks for the interpreter, before anything imports Triton.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from unittest import mock

import pytest
import torch

from cofi_dist.cost.sparse import build_rating_matrix
from cofi_dist.data.shard import UserShard
from cofi_dist.kernels.rating_matrix import RatingMatrix
from cofi_dist.kernels.torch_ops.backend import TorchKernels

CPU = torch.device("cpu")
INTERPRETED = find_spec("triton") is not None and "TRITON_INTERPRET" in os.environ
needs_triton = pytest.mark.skipif(
    not INTERPRETED, reason="Triton is not made for this platform, or there is a device: see tests/gpu"
)


@contextmanager
def interpreted(piece: int = 1024) -> Iterator[None]:
    """Pieces have so many ratings, and are read a few at a time."""
    from cofi_dist.kernels.cuda import backend

    with mock.patch.object(backend, "PIECE", piece), mock.patch.object(backend, "TILE", 64):
        yield


def triton_rows(shard: UserShard, dtype: torch.dtype) -> RatingMatrix:
    """The ratings as a CUDA device has them."""
    from cofi_dist.kernels.cuda.backend import TritonKernels

    return build_rating_matrix(shard, CPU, dtype, backend=TritonKernels)


def tensor_rows(shard: UserShard, dtype: torch.dtype) -> RatingMatrix:
    """The ratings as a device without Triton has them."""
    return build_rating_matrix(shard, CPU, dtype, backend=TorchKernels)
