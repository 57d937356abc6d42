"""Devices and the libraries that carry their tensors."""

import pytest
import torch

from cofi_dist.distributed.comm import SoloComm
from cofi_dist.distributed.device import choose_device
from cofi_dist.errors import ConfigError


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu", SoloComm()) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="device: cuda needs a device a rank"):
        choose_device("cuda", SoloComm())
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device: mps is not available"):
        choose_device("mps", SoloComm())
