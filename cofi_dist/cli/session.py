"""What a command and the end of its process share."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cofi_dist.stop import Stop

if TYPE_CHECKING:
    from cofi_dist.distributed import Comm


@dataclass
class Session:
    """Of this process.

    Attributes:
        stop: whether it was asked to stop.
        comm: the ranks, once they have met.
    """

    stop: Stop = field(default_factory=Stop)
    comm: "Comm | None" = None

    def meet(self) -> "Comm":
        """Wait for the other ranks, if there are any."""
        from cofi_dist.distributed import open_comm  # torch, which takes seconds to import

        self.comm = open_comm()
        return self.comm
