"""Refuse to fit in a process that was forked from one that has fitted, since it could wait forever."""

import os

from cofi_dist.errors import ConfigError


class FittingProcess:
    """Remember which process has fitted. A fork copies the locks of its threads, and not the threads."""

    _pid: int | None = None

    @classmethod
    def enter(cls) -> None:
        """Learn that this process fits.

        Raises:
            ConfigError: it is a fork of a process that has fitted.
        """
        if cls._pid not in (None, os.getpid()):
            raise ConfigError(
                "this process was forked from one that has called fit, whose threads it lacks; start it by"
                " spawn or forkserver, as multiprocessing.get_context('spawn') does"
            )
        cls._pid = os.getpid()
