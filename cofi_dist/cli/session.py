"""Hold what a command shares with the code that ends its process."""

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import typer

from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.run.stop import StopRequest
from cofi_dist.system.variables import read_placement


@dataclass
class Session:
    """Hold the state of this process, of which there is one.

    Attributes:
        stop: whether this process was asked to stop.
        comm: the ranks, once they have met.
    """

    stop: StopRequest = field(default_factory=StopRequest)
    comm: Comm | None = None

    def meet(self, context: typer.Context, resolved: Callable[[], Mapping[str, Any]] = dict) -> Comm:
        """Wait for the other ranks, if there are any.

        Args:
            context: the command, whose options must be the same on all ranks.
            resolved: returns the resolved config, which is compared in place of the config and the overrides.

        Raises:
            CofiError: the ranks do not meet, or were given different commands.
        """
        if read_placement() is None:  # torch takes a second to import, and not all commands need it
            self.comm = SoloComm()
            return self.comm
        from cofi_dist.distributed.handshake import Task
        from cofi_dist.distributed.rendezvous import init_comm

        def facts() -> dict[str, Any]:
            options = {
                name: value if isinstance(value, bool | int | float | None) else str(value)
                for name, value in context.params.items()
                if name not in ("config", "overrides")
            }
            return {"command": context.info_name, **options, **resolved()}

        self.comm = init_comm(Task(shlex.join(sys.argv[1:]), facts))
        return self.comm
