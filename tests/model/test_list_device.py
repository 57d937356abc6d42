"""Devices for lists: what is asked for, what there is, and that no one waits for torch in vain."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from cofi_dist.errors import ConfigError, DataError
from cofi_dist.model import list_device as module
from cofi_dist.model.list_device import list_device
from tests.support.models import made_up


@pytest.mark.parametrize(
    ("name", "count", "local_rank", "want"),
    [
        ("cpu", 2, 1, "cpu"),
        ("auto", 2, 1, "cuda:1"),
        ("cuda", 2, 3, "cuda:1"),
        ("cuda:0", 2, 1, "cuda:0"),
        ("auto", 0, 0, "cpu"),
    ],
)
def test_ranks_take_the_devices_in_turn(
    name: str, count: int, local_rank: int, want: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(module, "DRIVERS", (tmp_path,))  # so that auto looks
    assert list_device(name, local_rank) == want


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    model = made_up(tmp_path)
    with pytest.raises(ConfigError, match=r"^device: cuda is not available here; use cpu or auto$"):
        model.recommend_all(device="cuda")
    with pytest.raises(ConfigError, match=r"^device: cuda is not available here; use cpu or auto$"):
        held_out = pl.DataFrame({"user": ["u0001"], "item": [104], "value": [3.0]})
        model.evaluate(held_out, device="cuda")
    for name in ("gpu", "cpu:1", "cuda:x", None):
        with pytest.raises(DataError, match="give auto, cpu or cuda"):
            list_device(name)  # type: ignore[arg-type]


def test_without_a_driver_auto_does_not_import_torch() -> None:
    code = "from cofi_dist.model import list_device as m; m.DRIVERS = ()"
    code += "; import sys; assert m.list_device('auto') == 'cpu'; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
