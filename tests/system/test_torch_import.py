"""A command imports torch without its compilers' shapes, and what is asked of them is there all the same."""

import subprocess
import sys
from pathlib import Path

import pytest

from cofi_dist.system import torch_import

SCRIPT = """
import sys
from pathlib import Path
from cofi_dist.system import torch_import
from cofi_dist.system.torch_import import SHAPES, import_torch
torch_import.CUDA_DEVICES = Path("/nowhere")
import_torch()
import_torch()
assert "torch" in sys.modules
assert "torch._decomp" not in sys.modules, "the shapes import it"
import torch
assert torch.Generator("cpu").manual_seed(1).initial_seed() == 1
parameter = torch.ones(3, requires_grad=True)
optimizer = torch.optim.Adam([parameter])  # it imports a compiler
(parameter**2).sum().backward()
optimizer.step()
assert type(sys.modules[SHAPES]).__name__ == "_PutOff"
from torch._meta_registrations import meta_index_Tensor
assert meta_index_Tensor.__module__ == SHAPES
assert torch.linalg.inv(torch.ones(5, 2, 2, device="meta")).shape == (5, 2, 2)
"""


def test_torch_works_and_its_compilers_find_what_was_put_off() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "value"), [("version", lambda _: "3.0"), ("CUDA_DEVICES", Path("/"))])
def test_where_it_was_not_tested_nothing_is_put_off(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(torch_import, name, value)
    torch_import.import_torch()
    assert "torch" not in sys.modules
