"""Ctrl-C ends a fit with what was learnt so far; before the first step, and twice, it is as usual."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cofi_dist.errors import SaveError
from cofi_dist.fitting.interrupt import INTERRUPT, FitStop
from cofi_dist.run.stop import Phase

SCRIPT = """
import os, signal, tempfile, warnings
import cofi_dist
from tests.support.ratings_files import random_table

warnings.simplefilter("error")
try:
    cofi_dist.fit(
        random_table(),
        model={"num_features": 4}, train={"epochs": 10**9, "log_every": 1000}, progress=True,
    )
except cofi_dist.errors.InterruptedTrainingWarning as warning:
    print("warned:", warning)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
print("left:", os.listdir(tempfile.gettempdir()))
"""


def test_a_real_interrupt_returns_what_was_learnt_and_leaves_nothing(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]  # of `tests`
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path), "PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, env=env, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(" 1000 "):
                process.send_signal(signal.SIGINT)
                break
        said = [line for line in process.stdout.read().splitlines() if line.startswith(("warned", "left"))]
    assert process.returncode == 0
    assert said[0].startswith("warned: the training was stopped after epoch ")
    assert said[0].endswith(" by an interrupt; the factors are as they were then")
    assert said[1] == "left: []"


@pytest.fixture
def stop() -> Iterator[FitStop]:
    before = signal.getsignal(signal.SIGINT)
    yield FitStop()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_before_the_first_step_is_pythons_own(stop: FitStop) -> None:
    with stop.restoring(), stop.phase(Phase.TRAINING), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert not stop.reason


def test_the_second_interrupt_is_pythons_own(stop: FitStop) -> None:
    with stop.restoring(), stop.phase(Phase.TRAINING):
        assert not stop.is_requested()
        signal.raise_signal(signal.SIGINT)
        assert stop.is_requested()
        assert stop.reason == INTERRUPT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_other_signals_and_a_handler_of_the_caller_stay(stop: FitStop) -> None:
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    default = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop.restoring(), stop.phase(Phase.TRAINING):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert [signal.getsignal(number) for number in numbers] == before
    finally:
        signal.signal(signal.SIGINT, default)


def test_a_thread_sets_no_handler(stop: FitStop) -> None:
    def work() -> None:
        with stop.restoring(), stop.phase(Phase.TRAINING):
            seen.append(signal.getsignal(signal.SIGINT))

    seen: list[object] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_a_lost_run_directory_ends_the_fit_and_not_the_process(stop: FitStop) -> None:
    stop.on_lock_lost(SaveError("lock: is not this run's any more"))
    with pytest.raises(SaveError, match="not this run's any more"):
        stop.is_requested()
