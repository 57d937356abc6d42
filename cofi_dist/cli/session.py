"""What a command and the end of its process share."""

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from cofi_dist.run.stop import StopRequest

if TYPE_CHECKING:
    from cofi_dist.distributed.comm import Comm


@dataclass
class Session:
    """Of this process.

    Attributes:
        stop: whether it was asked to stop.
        comm: the ranks, once they have met.
    """

    stop: StopRequest = field(default_factory=StopRequest)
    comm: "Comm | None" = None

    def meet(self, context: typer.Context, resolved: Callable[[], Mapping[str, Any]] = dict) -> "Comm":
        """Wait for the other ranks, if there are any.

        Args:
            context: whose options must be the same on all ranks.
            resolved: what the config and the overrides among them come to, in their place.

        Raises:
            CofiError: the ranks don't meet, or were told other things.
        """
        from cofi_dist.distributed.handshake import Task  # torch, which takes seconds to import
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
