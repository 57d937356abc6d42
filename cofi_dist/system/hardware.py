"""Name the hardware and software versions that the bits of a run depend on."""

from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import torch
from llvmlite.binding import get_host_cpu_name


def hardware_and_versions(device: torch.device) -> dict[str, str]:
    """Return the processor that code is compiled for and the versions of the libraries, by name.

    Runs with equal values have the same bits.

    Args:
        device: the device of the run.
    """
    kind = {
        "cpu": f"{get_host_cpu_name()} {torch.backends.cpu.get_cpu_capability()}",
        "torch": torch.__version__,
        "numba": version("numba"),
        "numpy": np.__version__,
    }
    if device.type == "cuda":
        kind["gpu"] = torch.cuda.get_device_name(device)
        kind["triton"] = import_module("triton").__version__ if find_spec("triton") else "none"
    return kind
