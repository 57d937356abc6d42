"""Choose the device that lists are made on."""

from pathlib import Path

from cofi_dist.errors import ConfigError, DataError

DEVICES = ("auto", "cpu", "cuda")
# Files of the drivers; without any of them there is no CUDA device, and no need to wait for torch.
DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


def list_device(name: str, local_rank: int = 0) -> str:
    """Return `cpu`, or a CUDA device as torch names it.

    Args:
        name: `cpu`, `cuda`, a certain device such as `cuda:1`, or `auto`: cuda if there is any, else cpu.
        local_rank: of the ranks of a node, which take its CUDA devices in turn.

    Raises:
        DataError: there is no such name.
        ConfigError: there is no such CUDA device.
    """
    kind, _, number = str(name).partition(":")
    if kind not in DEVICES or (number and not (kind == "cuda" and number.isdecimal())):
        raise DataError(f"device is {name!r}; give auto, cpu or cuda")
    if kind == "cpu" or (kind == "auto" and not any(driver.exists() for driver in DRIVERS)):
        return "cpu"
    import torch  # which takes seconds

    count = torch.cuda.device_count()
    if kind == "cuda" and int(number or 0) >= count:
        raise ConfigError(f"device: {name} is not available here; use cpu or auto")
    return f"cuda:{number or local_rank % count}" if count else "cpu"
