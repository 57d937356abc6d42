"""A search: trials that are runs, pruned, told, gone on with, counted."""

import re
from pathlib import Path

import pytest

from cofi_dist.cli.main import app
from cofi_dist.cli.session import Session
from cofi_dist.config import load_config
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.errors import ConfigError, RunError, StoppedError
from cofi_dist.run.directory import RunDirectory
from cofi_dist.run.stop import StopRequest
from cofi_dist.run.train import train
from cofi_dist.testing import run_ranks
from cofi_dist.tuning.trials import findings
from tests.tuning.searches import SPACE, epochs, results, searched, work

pytest.importorskip("optuna")


def test_trials_are_runs_some_are_pruned_and_the_best_is_found(tmp_path: Path) -> None:
    search = searched(tmp_path)
    said = work(search, 16)
    found = findings(search, SoloComm())
    table = found.table
    assert len(table) == 16
    assert sorted(path.name for path in tmp_path.glob("out/trial-*")) == [f"trial-{n:04}" for n in range(16)]
    states = table["state"].to_list()
    assert states == sorted(states, key=["done", "pruned", "diverged", "unfinished"].index)
    assert states.count("pruned") >= 3, states
    done = table.filter(table["state"] == "done")
    assert done["rmse"].to_list() == sorted(done["rmse"])
    best = found.best(search)
    assert best is not None
    assert best.figure == table["rmse"].min(), "no trial was pruned that was the best"
    config = load_config(best.run_dir / "config.yaml")
    assert best.settings == {
        "train.lambda_": config.train.lambda_,
        "model.num_features": config.model.num_features,
        "train.lr": config.train.lr,
    }
    assert re.fullmatch(
        r"trial 0 of 16  train\.lambda_=\S+, model\.num_features=[24], train\.lr=\S+", said[0]
    )
    assert re.fullmatch(r"    RMSE \d\.\d{5}, of epoch \d+, in \d+\.\d s", said[1])
    assert work(search, 16) == [], "the budget is used up"


def test_a_pruned_run_says_so_and_can_be_read_and_gone_on_with(tmp_path: Path) -> None:
    search = searched(tmp_path, "checkpoint.every=5")
    work(search, 14)
    name, result = next((name, result) for name, result in results(search).items() if "pruned" in result)
    run = tmp_path / "out" / name
    last = epochs(run)[-1]
    assert 10 <= last < 40, "no run is pruned in its first quarter, and none after its last epoch"
    assert result["pruned"] == f"after epoch {last}: most trials had a better figure by then"
    assert f"pruned {result['pruned']}" in (run / "train.log").read_text()
    assert result["validation_rmse"] > 0
    app(["evaluate", str(run), "--part", "validation"], standalone_mode=False, obj=Session())
    assert not RunDirectory(run).is_finished
    train(run / "config.yaml", [], SoloComm(), quiet=True)
    assert epochs(run) == [1, *range(5, 41, 5)]
    assert RunDirectory(run).is_finished


def test_settings_depend_on_the_seed_and_on_nothing_that_was_interrupted(tmp_path: Path) -> None:
    whole, pieces, other = (searched(tmp_path, name=name) for name in ("whole", "pieces", "other"))
    work(whole, 14)
    for trials in (3, 12, 14):
        work(pieces, trials)
    columns = ["trial", "state", "train.lambda_", "model.num_features", "train.lr", "rmse"]
    want = findings(whole, SoloComm()).table.select(columns)
    assert findings(pieces, SoloComm()).table.select(columns).equals(want)
    other = searched(tmp_path, "seed=2", name="other")
    work(other, 1)
    assert findings(other, SoloComm()).table["train.lr"][0] not in want["train.lr"].to_list()


def test_a_trial_that_diverges_does_not_end_the_search(tmp_path: Path) -> None:
    search = searched(tmp_path, "train.dtype=float32", space=["train.lr=0.01,1.0e+38"])
    said = work(search, 6)
    table = findings(search, SoloComm()).table
    diverged = table.filter(table["train.lr"] == 1e38)
    assert set(diverged["state"]) == {"diverged"}
    assert set(table.filter(table["train.lr"] == 0.01)["state"]) == {"done"}
    assert sum("the cost is" in line for line in said) == len(diverged)
    assert work(search, 6) == []


def test_a_finished_trial_whose_worker_was_killed_is_told_from_its_files(tmp_path: Path) -> None:
    search = searched(tmp_path)
    work(search, 2)
    journal = search.open_journal()
    lines = journal.file.read_bytes().splitlines(keepends=True)
    journal.file.write_bytes(b"".join(lines[:-1]))  # of the telling
    trials = search.open_journal().trials()
    assert [trial.state.is_finished() for trial in trials] == [True, False]
    before = (tmp_path / "out/trial-0001/result.json").stat().st_mtime_ns
    assert work(search, 2) == [], "nothing is trained"
    assert (tmp_path / "out/trial-0001/result.json").stat().st_mtime_ns == before
    told = search.open_journal().trials()[1]
    assert told.state.is_finished()
    assert told.value == pytest.approx(results(search)["trial-0001"]["validation_rmse"])


def test_runs_that_the_journal_does_not_know_are_not_taken_for_its_trials(tmp_path: Path) -> None:
    search = searched(tmp_path)
    work(search, 1)
    (tmp_path / "out/trials.journal").unlink()
    with pytest.raises(
        RunError, match=r"out/trial-0000: holds a run that trials\.journal does not know; give"
    ):
        work(search, 1)


def test_a_trial_that_a_live_worker_has_is_left_to_it(tmp_path: Path) -> None:
    search = searched(tmp_path)
    assert search.open_journal().begin() == 0
    with RunDirectory(search.run_dir(0)).claim():
        said = work(search, 2)
        assert [line.split()[1] for line in said[::2]] == ["1"]
    assert findings(search, SoloComm()).table["trial"].to_list() == [1], (
        "the other one has not begun to train"
    )
    assert work(search, 2)[0].startswith("trial 0 of 2 "), "now it is taken over"


def test_a_worker_that_is_asked_to_stop_goes_on_later(tmp_path: Path) -> None:
    search = searched(tmp_path, "train.epochs=2000", "train.log_every=100", "validation.every=100")
    stop = StopRequest()
    stop.reason = "SIGTERM"
    with pytest.raises(StoppedError, match="stopped by SIGTERM between two trials; start the search again"):
        work(search, 1, stop=stop)

    class Soon(StopRequest):
        def is_requested(self) -> bool:
            looked.append(1)
            self.reason = "SIGTERM" if len(looked) > 500 else ""
            return bool(self.reason)

    looked: list[int] = []
    with pytest.raises(StoppedError, match="stopped after epoch 500 by SIGTERM; the state is saved"):
        work(search, 1, stop=Soon())
    assert work(search, 1)[0].startswith("trial 0 of 1 ")
    assert epochs(search.run_dir(0)) == [1, *range(100, 2001, 100)]
    log = (search.run_dir(0) / "train.log").read_text()
    assert log.count("gone on with from") == 1


def _work_on_ranks(comm: Comm, tmp: Path, name: str) -> list[str]:
    said = work(searched(tmp, name=name), 12, comm)
    comm.barrier()
    return said


def test_two_ranks_search_as_one_does_and_prune_together(tmp_path: Path) -> None:
    searched(tmp_path)
    (alone,) = run_ranks(1, _work_on_ranks, tmp_path, "one", tmp=tmp_path)
    first, second = run_ranks(2, _work_on_ranks, tmp_path, "two", tmp=tmp_path)
    assert second == [], "rank 0 alone says something"
    one, two = (findings(searched(tmp_path, name=name), SoloComm()).table for name in ("one", "two"))
    assert [line.partition(", in")[0] for line in first] == [line.partition(", in")[0] for line in alone]
    assert one["state"].to_list() == two["state"].to_list()
    assert "pruned" in one["state"].to_list()
    assert two["rmse"].to_list() == pytest.approx(one["rmse"].to_list(), rel=1e-9)


@pytest.mark.parametrize(
    ("space", "overrides", "says"),
    [
        (
            ["train.lambda_=log:0.1:10"],
            [],
            r"is of the space train\.lambda_=log:0\.1:100\.0 .*; give another",
        ),
        (SPACE, ["train.epochs=41"], r"is of a search with train\.epochs: 40, not 41; give another --output"),
        (SPACE, ["checkpoint.every=10", "train.deadline=1000"], ""),
    ],
)
def test_another_search_in_the_same_place_is_refused(
    space: list[str], overrides: list[str], says: str, tmp_path: Path
) -> None:
    work(searched(tmp_path), 1)
    other = searched(tmp_path, *overrides, space=space)
    if not says:
        work(other, 1)
        return
    with pytest.raises(RunError, match=says):
        work(other, 1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "--grid and --space: give one of them"),
        (["--grid", "seed=1", "--space", "seed=1"], "--grid and --space: give one of them"),
        (["--space", "seed=1,2"], "--trials: is missing"),
        (["--space", "seed=1,2", "--trials", "2", "--only", "1"], "--only: belongs to --grid"),
        (["--grid", "seed=1,2", "--trials", "2"], "--trials: belongs to --space"),
    ],
)
def test_options_that_do_not_go_together_are_refused(given: list[str], says: str, tmp_path: Path) -> None:
    searched(tmp_path)
    with pytest.raises(ConfigError, match=says):
        app(["tune", "--config", str(tmp_path / "c.yaml"), *given], standalone_mode=False, obj=Session())


def test_the_command_prints_the_trials_and_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searched(tmp_path)
    given = ["tune", "--config", str(tmp_path / "c.yaml"), "--output", str(tmp_path / "out")]
    given += ["--space", "train.lambda_=log:0.1:100", "--space", "model.num_features=2,4"]
    with pytest.raises(ConfigError, match="out: no such directory; nothing has been trained there"):
        app([*given, "--table"], standalone_mode=False, obj=Session())
    app([*given, "--trials", "13"], standalone_mode=False, obj=Session())
    trained = capsys.readouterr()
    assert len(trained.out.splitlines()) == 14
    assert trained.out.split()[:8] == [
        *("trial", "state", "train.lambda_", "model.num_features", "rmse", "mae", "epoch", "seconds")
    ]
    assert re.search(
        r"^best: RMSE 0\.\d{5} with train\.lambda_=\S+, model\.num_features=[24], in ", trained.err, re.M
    )
    assert re.search(r"^13 trials: \d+ done, \d+ pruned; the table is in", trained.err, re.M)
    app([*given, "--table"], standalone_mode=False, obj=Session())
    assert capsys.readouterr().out == trained.out
