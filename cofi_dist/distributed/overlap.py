"""Let a rank work while it waits for the others."""

from collections.abc import Callable
from threading import Thread

import torch


def run_overlapped(
    reduce: Callable[[], None], overlap: Callable[[], None] | None, device: torch.device
) -> None:
    """Run `reduce`, which waits for other ranks, in a thread while `overlap` runs in this one."""
    if overlap is None:
        reduce()
        return
    errors: list[BaseException] = []

    def attempt() -> None:
        try:
            if device.type == "cuda":
                torch.cuda.set_device(device)  # each thread begins with the first one
            reduce()
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=attempt, daemon=True)
    thread.start()
    overlap()
    thread.join()
    if errors:
        raise errors[0]
