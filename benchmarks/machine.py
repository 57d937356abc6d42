"""The line that every benchmark begins with, and medians."""

import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch

from cofi_dist.version import __version__


def machine() -> str:
    """Processor, threads and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return (
        f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__},"
        f" Python {platform.python_version()}, cofi_dist {__version__}"
    )


def spread(values: Sequence[float], digits: int = 2) -> str:
    """`median (min to max)`."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
