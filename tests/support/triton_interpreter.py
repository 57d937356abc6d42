"""Run the Triton kernels by Triton's interpreter, on a CPU, so that they are tested without a device too.

tests/conftest.py asks for the interpreter, before anything imports Triton.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any
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

    with mock.patch.multiple(backend, PIECE=piece, TILE=64, MOST_AT_ONCE=2):
        yield


def triton_backend() -> Backend:
    """Return the back end of CUDA devices."""
    from cofi_dist.kernels.cuda.backend import TritonKernels

    return TritonKernels


@contextmanager
def sums_as_on_a_device(runs: int = 2, columns: int = 8) -> Iterator[None]:
    """Add the rows of all items as on a CUDA device whose order is fixed, in so many runs."""
    from cofi_dist.kernels import block_sums, item_sums
    from cofi_dist.kernels.cuda import rows

    def in_triton(_: object, *, fixes_order: bool) -> bool:
        return fixes_order

    with (
        mock.patch.object(block_sums, "sums_in_triton", in_triton),
        mock.patch.object(item_sums, "sums_in_triton", in_triton),
        mock.patch.multiple(rows, RUNS=runs, COLUMNS=columns, ROWS_AT_ONCE=2),
    ):
        yield


@contextmanager
def invariant_as_on_a_device() -> Iterator[None]:
    """Let factors on a CPU take the steps of `reduction: invariant` on a CUDA device."""
    from cofi_dist.cost import sparse
    from cofi_dist.kernels.cuda.rows import add_gram_products, row_dots
    from cofi_dist.optim import conjugate_gradient, sharded_items

    def torch_cg(*operands: Any) -> conjugate_gradient.TorchCG:
        return conjugate_gradient.TorchCG(*operands, row_dots)  # type: ignore[call-arg]

    def in_order(*operands: Any, constant: float, fixes_order: bool = False) -> None:
        assert fixes_order
        add_gram_products(*operands, constant=constant)

    def by_triton(make: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *operands, **given: make(*operands, **{**given, "backend": triton_backend()})

    with ExitStack() as stack, sums_as_on_a_device():
        stack.enter_context(mock.patch.object(conjugate_gradient, "NumbaCG", torch_cg))
        for module in ("cost.sparse", "cost.sharded", "optim.conjugate_gradient", "optim.sharded_items"):
            stack.enter_context(mock.patch(f"cofi_dist.{module}.add_gram_product", in_order))
        for room, names in (
            (sparse, ("RatingMatrix", "ItemBlocks")),
            (sharded_items, ("ItemBlocks", "UserBatches")),
        ):
            for name in names:
                stack.enter_context(mock.patch.object(room, name, by_triton(getattr(room, name))))
        yield
