"""Copy tensors of a device to the host and back, for a library that carries tensors of the host only."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def is_on_device(tensor: Tensor) -> bool:
    """Return whether a tensor lies elsewhere than in the host's memory."""
    return tensor.device.type != "cpu"


@contextmanager
def host_twins(*tensors: Tensor, are_read: bool, are_written: bool) -> Iterator[list[Tensor]]:
    """Yield a tensor of the host for each tensor of a device.

    Args:
        tensors: of any shapes.
        are_read: whether the twins start with the numbers of the tensors; else with anything.
        are_written: whether the tensors get the numbers of the twins at the end, unless there is an error.
    """
    # in pinned memory, which a device copies to and from several times as fast
    pinned = torch.cuda.is_available()
    twins = [torch.empty(each.shape, dtype=each.dtype, pin_memory=pinned) for each in tensors]
    if are_read:
        for tensor, twin in zip(tensors, twins, strict=True):
            twin.copy_(tensor)
    yield twins
    if are_written:
        for tensor, twin in zip(tensors, twins, strict=True):
            tensor.copy_(twin)
