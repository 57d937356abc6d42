"""A fit in threads, in a run directory, and on the ranks of torchrun."""

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numba
import pytest
import torch

import cofi_dist
from cofi_dist import Model
from cofi_dist.distributed import rendezvous
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.errors import CofiError, ConfigError, RunError, SaveError, TrainingError
from cofi_dist.fitting import session
from cofi_dist.fitting.arguments import Arguments
from cofi_dist.fitting.interrupt import FitStop
from cofi_dist.run import lock
from cofi_dist.run_layout import LOCK
from tests.support.ratings_files import random_table

MODEL = {"num_features": 4}
SMALL: dict[str, Any] = {"model": MODEL, "train": {"epochs": 4, "log_every": 2}, "progress": False}


def factors(model: Model) -> list[torch.Tensor]:
    return [model.factors.X, model.factors.W, model.factors.b]


def are_equal(one: Model, other: Model) -> bool:
    return all(map(torch.equal, factors(one), factors(other)))


@pytest.mark.parametrize("in_turns", [False, True])
def test_several_threads_fit_as_one_does(in_turns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if in_turns:  # otherwise as it is here: not all that starts numba's threads lets loops run at once
        monkeypatch.setattr(session, "loops_may_run_at_once", lambda: False)
    tables = [random_table(seed=seed) for seed in (1, 2, 1, 2)]
    models: dict[int, Model] = {}

    def work(number: int) -> None:
        models[number] = cofi_dist.fit(tables[number], **SMALL)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, table in enumerate(tables):
        assert are_equal(models[number], cofi_dist.fit(table, **SMALL))


def test_a_run_directory_is_that_of_the_command_and_is_resumed(tmp_path: Path) -> None:
    table, run = random_table(), tmp_path / "run"
    first = cofi_dist.fit(table, run_dir=run, checkpoint={"every": 2}, **SMALL)
    assert first.loaded_from == run
    assert are_equal(first, Model.load(run))
    assert {"config.yaml", "data", "model", "metrics.jsonl", "result.json"} <= set(os.listdir(run))
    with pytest.raises(RunError, match=r"already holds a run; give another run_dir, or checkpoint\.resume"):
        cofi_dist.fit(table, run_dir=run, **SMALL)
    auto: dict[str, Any] = {"run_dir": run, "checkpoint": {"every": 2, "resume": "auto"}}
    finished = cofi_dist.fit(table, **auto, **SMALL)
    assert are_equal(first, finished)
    longer = cofi_dist.fit(table, **auto, **{**SMALL, "train": {"epochs": 6, "log_every": 2}})
    assert longer.history["epoch"].to_list() == [1, 2, 4, 6]
    whole = cofi_dist.fit(table, **{**SMALL, "train": {"epochs": 6, "log_every": 2}})
    assert are_equal(longer, whole)


def test_a_run_directory_that_another_run_has_taken_ends_the_fit_and_not_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.05)
    run = tmp_path / "run"

    def take() -> None:
        while not (run / "metrics.jsonl").exists():
            time.sleep(0.01)
        (run / LOCK).rename(tmp_path / "aside")

    thread = threading.Thread(target=take)
    thread.start()
    with pytest.raises(SaveError, match="is not this run's any more: another run has taken"):
        cofi_dist.fit(random_table(), run_dir=run, **{**SMALL, "train": {"epochs": 10**9, "deadline": 60.0}})
    thread.join()
    assert not (run / "checkpoints").exists()


def test_several_nodes_need_a_run_directory() -> None:
    comm = SoloComm()
    comm.world_size = 2
    arguments = Arguments(
        ratings=None, sections={}, seed=1, device="cpu", start=None, run_dir=None, progress=False
    )
    with pytest.raises(ConfigError, match=r"^run_dir: several nodes share the ratings and the model through"):
        session._Fit(arguments, comm, FitStop())._directory(None, ExitStack())  # type: ignore[arg-type]


def test_the_threads_of_torch_and_numba_stay_as_they_were() -> None:
    cofi_dist.fit(random_table(), **SMALL)  # from here on numba has threads
    before = torch.get_num_threads(), numba.get_num_threads()
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    try:
        cofi_dist.fit(random_table(), **SMALL)
        after = torch.get_num_threads(), numba.get_num_threads()
        assert after == (before[0], numba.config.NUMBA_NUM_THREADS)
    finally:
        numba.set_num_threads(before[1])


def test_a_deadline_counts_from_the_call_and_returns_what_was_learnt() -> None:
    train = {"epochs": 10**9, "deadline": 0.5}
    with pytest.warns(UserWarning, match=r"stopped after epoch \d+ by train\.deadline; the factors are as"):
        model = cofi_dist.fit(random_table(), **{**SMALL, "train": train})
    assert model.history["epoch"][-1] < 10**9


def test_the_best_factors_are_returned_if_they_are_known() -> None:
    # on a busy machine the first deadline may pass before any epoch is worse than the one before
    for deadline in (0.5, 4, 32):
        train = {"epochs": 10**9, "deadline": deadline, "lr": 0.3}
        with pytest.warns(UserWarning, match=r"stopped after epoch \d+ by train\.deadline") as warned:
            cofi_dist.fit(
                random_table(), data={"validation": {}}, validation={"every": 5}, **{**SMALL, "train": train}
            )
        if "the factors are the best so far, those of epoch " in str(warned[0].message):
            break
    else:
        pytest.fail(str(warned[0].message))
    epoch = int(str(warned[0].message).rpartition(" ")[2])
    assert warned[0].filename == __file__
    assert epoch % 5 == 0 or epoch == 1


def test_a_divergence_says_what_to_do_and_names_no_directory_that_is_gone() -> None:
    with pytest.raises(TrainingError, match=r"^epoch \d+: the cost is \w+; try a lower train\.lr$"):
        cofi_dist.fit(random_table(), **{**SMALL, "train": {"epochs": 50, "lr": 1e30, "log_every": 1}})


def test_an_error_shows_the_call_and_not_our_depths() -> None:
    with pytest.raises(CofiError) as caught:
        cofi_dist.fit(random_table(), seed=-1)
    frames = {entry.path.name for entry in caught.traceback if hasattr(entry.path, "name")}
    assert frames == {Path(__file__).name, "fit.py"}


def test_memory_that_runs_out_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("of 5 GB")

    monkeypatch.setattr(session, "train_config", fail)
    with pytest.raises(TrainingError, match=r"^there is not enough memory: of 5 GB$"):
        cofi_dist.fit(random_table(), **SMALL)


def test_left_over_variables_of_torchrun_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "MEET_SECONDS", 0.5)
    left = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        TrainingError, match=r"the ranks cannot meet: .* unset WORLD_SIZE if this is the only"
    ):
        cofi_dist.fit(random_table(), **SMALL)


def test_a_program_that_uses_torchs_processes_itself_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "h", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"destroy_process_group\(\)"):
        cofi_dist.fit(random_table(), **SMALL)


SCRIPT = """
import os, sys, tempfile
import torch
import cofi_dist
from cofi_dist.run import training_run
from cofi_dist.errors import CofiError, DataError
from tests.support.ratings_files import random_table

rank = int(os.environ["RANK"])
table = random_table() if rank == 0 else None
train = {"epochs": 4, "reduction": "invariant"}
before = dict(os.environ), sys.excepthook

def fit(**changes):
    arguments = {"model": {"num_features": 4}, "train": train, "progress": False}
    return cofi_dist.fit(table, **{**arguments, **changes})

def error(**changes):
    try:
        fit(**changes)
    except CofiError as error:
        return f"{type(error).__name__}: {error}"

first = fit()
build = training_run.build_trainer
def broken(*arguments):
    if rank == 1:
        raise DataError("row 7 is odd")
    return build(*arguments)
training_run.build_trainer = broken
errors = [error()]
training_run.build_trainer = build
errors += [error(seed=-1), error(train={"epochs": 4 + rank})]
second = fit()
assert all(torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())
assert first.history["epoch"].to_list() == [1]
assert first.rated().items_of(3).len()
first.save(f"{sys.argv[1]}/model-{rank}")
assert (dict(os.environ), sys.excepthook) == before
with open(f"{sys.argv[1]}/errors-{rank}", "w") as file:
    file.write("\\n".join(errors))
"""


def test_ranks_of_torchrun_fit_together_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    (tmp_path / "script.py").write_text(SCRIPT)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(tmp_path / "temporary"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, *launcher, str(tmp_path / "script.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        env=env,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "temporary").glob("cofi_dist-*"))
    alone = cofi_dist.fit(random_table(), **{**SMALL, "train": {"epochs": 4, "reduction": "invariant"}})
    for rank in (0, 1):
        assert are_equal(alone, Model.load(tmp_path / f"model-{rank}"))
        on_one, refused, different = (tmp_path / f"errors-{rank}").read_text().splitlines()
        assert on_one == "DataError: rank 1: row 7 is odd"
        assert refused == "ConfigError: seed: input should be greater than or equal to 0, not -1"
        assert "train.epochs differ; give all ranks the same" in different
