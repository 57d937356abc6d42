"""Devices and the libraries that carry their tensors."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cofi_dist.distributed.comm import SoloComm
from cofi_dist.distributed.device import choose_device, min_free_memory, ranks_per_device
from cofi_dist.errors import ConfigError

CUDA = torch.device("cuda", 0)


class Ranks(SoloComm):
    """Several ranks on one host, seen from rank 0; the others say what they are given to say."""

    def __init__(self, others: Sequence[Sequence[Any]]) -> None:
        self.world_size = self.local_world_size = 1 + len(others)
        self._said = [list(each) for each in others]
        self.goes_over_host = False

    def all_gather_objects(self, item: Any) -> list[Any]:
        return [item, *(said.pop(0) or item for said in self._said)]

    def carry_over_host(self, is_over_host: bool) -> None:
        self.goes_over_host = is_over_host


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (900, 1000))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=f"GPU-{device.index}")
    )
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu", SoloComm()) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="there is no CUDA device here"):
        choose_device("cuda", SoloComm())
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device: mps is not available"):
        choose_device("mps", SoloComm())


@pytest.mark.usefixtures("two_devices")
def test_the_ranks_of_a_node_take_its_devices_in_turn() -> None:
    for local_rank, index in enumerate([0, 1, 0]):
        comm = SoloComm()
        comm.local_rank = local_rank
        assert choose_device("cuda", comm) == torch.device("cuda", index)


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(
    ("backend", "device_of_the_other", "over_host"),
    [("auto", "host GPU-1", False), ("auto", None, True), ("gloo", "host GPU-1", True), ("gloo", None, True)],
)
def test_gloo_carries_what_ranks_on_one_device_sum(
    backend: str, device_of_the_other: str | None, over_host: bool
) -> None:
    comm = Ranks([["cuda", device_of_the_other]])  # None: the same one
    assert choose_device("auto", comm, backend) == CUDA
    assert comm.goes_over_host == over_host


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(
    ("device", "backend", "kind_of_the_other", "said"),
    [
        ("cuda", "nccl", "cuda", "needs a CUDA device for each rank, and 2 ranks have the same one"),
        ("cpu", "nccl", "cpu", "train.backend: nccl carries CUDA tensors, not those of a cpu"),
        ("auto", "auto", "cpu", "device: auto is cpu for rank 1, cuda for rank 0"),
    ],
)
def test_what_would_hang_is_refused(device: str, backend: str, kind_of_the_other: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        choose_device(device, Ranks([[kind_of_the_other, None]]), backend)
    assert raised.value.shared


@pytest.mark.usefixtures("two_devices")
def test_ranks_on_one_device_share_its_memory() -> None:
    others = ["host GPU-1", None]
    assert ranks_per_device(CUDA, Ranks([[other] for other in others])) == 2
    assert min_free_memory(CUDA, Ranks([[other] for other in others])) == 450
    assert ranks_per_device(torch.device("cpu"), SoloComm()) == 1
