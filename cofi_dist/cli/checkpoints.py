"""Define the command `checkpoints`, which lists the checkpoints of a run."""

import time

from cofi_dist.cli.arguments import RunDirectory
from cofi_dist.cli.progress import working
from cofi_dist.streams import Style, log_stderr, print_styled


def checkpoints(run: RunDirectory) -> None:
    """List the checkpoints of a run, and verify every byte of them."""
    from cofi_dist.cli.tables import print_table
    from cofi_dist.report.checkpoint_list import verified_checkpoints

    with working("reading every byte"):
        complete, faults = verified_checkpoints(run)
    rows = [
        (
            str(each.epoch),
            str(each.world_size),
            f"{each.bytes / 1e6:,.1f} MB",
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.saved_at)),
            each.name,
        )
        for each in complete
    ]
    print_table(("epoch", "ranks", "size", "saved", "complete"), rows)
    for fault in faults:
        print_styled(("broken: ", Style.error), (fault, Style.plain))
    if not complete and not faults:
        log_stderr(
            f"{run}: has no checkpoints; one is saved every checkpoint.every epochs, or when a run is stopped"
        )
