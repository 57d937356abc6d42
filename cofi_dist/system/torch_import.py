"""Import torch in less time, in a process of our own."""

import importlib
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

# How torch's compilers compute shapes, which takes a fifth of the time that importing torch takes; and the
# part of what it imports that torch cannot do without.
SHAPES, NEEDED = "torch._meta_registrations", "torch._prims.rng_prims"
# The modules are torch's own business, so this is for what it was tested with: these versions, on the CPU.
TESTED = ("2.13.",)
CUDA_DEVICES = Path("/dev/nvidiactl")


class _PutOff(ModuleType):
    """Stand for a module until something of it is asked for."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def import_torch() -> None:
    """Import torch, if that has not been done, without the shapes that its compilers need.

    They are imported when something of them is asked for. Before, torch.compile and tensors on the device
    `meta` may not work. So this is for commands, which use neither, and not for processes of users.
    """
    if "torch" in sys.modules or CUDA_DEVICES.exists() or not version("torch").startswith(TESTED):
        return  # whoever needs it imports it as usual
    sys.modules[SHAPES] = _PutOff(SHAPES)
    importlib.import_module("torch")
    importlib.import_module(NEEDED)
