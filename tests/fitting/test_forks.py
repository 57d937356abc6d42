"""A fork of a process that has fitted is refused in one line; it would wait for threads that it lacks."""

import os

import pytest

import cofi_dist
from cofi_dist.errors import ConfigError
from cofi_dist.fitting.forks import FittingProcess
from tests.support.ratings_files import random_table


def test_a_fork_of_a_process_that_has_fitted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FittingProcess, "_pid", None)
    FittingProcess.enter()
    FittingProcess.enter()
    monkeypatch.setattr(FittingProcess, "_pid", os.getppid())  # as a fork finds it
    with pytest.raises(ConfigError, match=r"^this process was forked from one that has called fit, .* spawn"):
        cofi_dist.fit(random_table())
