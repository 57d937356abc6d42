"""What asks a run to stop, and what else it does: nothing."""

import math
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from cofi_dist.errors import StoppedError
from cofi_dist.run import stop as stop_module
from cofi_dist.run.stop import SIGNALS, Interrupted, Phase, StopRequest, clear_stop_file
from cofi_dist.run_layout import STOP
from cofi_dist.system.launcher import Launcher


@pytest.fixture
def stop() -> StopRequest:
    stop = StopRequest()
    stop.listen()
    return stop


@pytest.mark.parametrize("number", SIGNALS)
def test_while_stepping_a_signal_only_sets_the_flag(number: signal.Signals, stop: StopRequest) -> None:
    with stop.phase(Phase.TRAINING):
        assert not stop.is_requested()
        os.kill(os.getpid(), number)
        assert stop.is_requested()
        assert stop.reason == number.name


def test_a_signal_that_comes_while_the_stop_file_is_looked_for_is_kept(
    stop: StopRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return ""

    monkeypatch.setattr(stop, "_look", look)
    with stop.phase(Phase.TRAINING):
        assert stop.is_requested()
        assert stop.reason == "SIGTERM"


@pytest.mark.parametrize("number", SIGNALS)
def test_after_training_a_signal_breaks_nothing_off(number: signal.Signals, stop: StopRequest) -> None:
    with stop.phase(Phase.STARTING):
        with stop.phase(Phase.TRAINING):
            pass
        os.kill(os.getpid(), number)
    assert stop.reason == number.name


def test_before_the_first_step_a_signal_breaks_off_once(stop: StopRequest) -> None:
    with (
        pytest.raises(StoppedError, match="stopped by SIGTERM before the first step"),
        stop.phase(Phase.STARTING),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)  # while things are cleared away: nothing


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_where_no_exception_is_passed_on_comes_again(
    number: signal.Signals, stop: StopRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    class Destroyed:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted):
        Destroyed()
        time.sleep(30)
    assert capsys.readouterr().err == ""


def test_other_errors_there_are_said_as_ever(stop: StopRequest, capsys: pytest.CaptureFixture[str]) -> None:
    class Destroyed:
        def __del__(self) -> None:
            raise KeyError("mine")

    Destroyed()
    assert "KeyError: 'mine'" in capsys.readouterr().err


def test_elsewhere_it_is_no_error_of_ours(stop: StopRequest) -> None:
    with pytest.raises(Interrupted) as error:
        os.kill(os.getpid(), signal.SIGUSR1)
    assert error.value.number == signal.SIGUSR1


def test_a_second_interrupt_leaves_at_once(stop: StopRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    with stop.phase(Phase.TRAINING):
        os.kill(os.getpid(), signal.SIGINT)
    assert left == []
    os.kill(os.getpid(), signal.SIGINT)
    assert left == [130]


def test_the_first_interrupt_saves_whatever_asked_before(
    stop: StopRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    with stop.phase(Phase.TRAINING):
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
    assert left == []
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    assert left == [130]


def test_the_stop_file_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_module, "SECONDS_BETWEEN_LOOKS", 0.0)
    stop = StopRequest()
    stop.watch(tmp_path, math.inf)
    assert not stop.is_requested()
    (tmp_path / STOP).touch()
    assert stop.is_requested()
    assert stop.reason == f"the file {tmp_path / STOP}"


def test_a_stop_file_is_cleared_by_a_new_start_but_not_by_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / STOP).touch()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with monkeypatch.context() as patch:
        patch.setattr(Launcher, "find", lambda: Launcher(psutil.Process(), is_torchrun=True))
        clear_stop_file(tmp_path)
    assert (tmp_path / STOP).exists()
    clear_stop_file(tmp_path)
    assert not (tmp_path / STOP).exists(), "the count is left over: nobody starts this run again"
    (tmp_path / STOP).touch()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    clear_stop_file(tmp_path)
    assert not (tmp_path / STOP).exists()


def test_the_deadline_is_kept(tmp_path: Path) -> None:
    stop = StopRequest()
    stop.watch(tmp_path, 1e-9)
    assert stop.is_requested()
    assert stop.reason == "train.deadline"
