"""A link between two hosts is cut: for a moment, and the run goes on; for good, and both ranks leave."""

import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from cofi_dist.checkpoint.manifest import list_checkpoints
from cofi_dist.distributed.comm import Comm
from cofi_dist.run.train import train
from tests.support.network_hosts import Hosts, missing
from tests.support.runs import CONFIG, metrics, run, tensors

MAX_MISSED_BEATS = 7
FOREVER = 10**7


def _trains(comm: Comm, file: Path, run_dir: Path, timeout: float) -> None:
    given = [f"train.epochs={FOREVER}", f"run_dir={run_dir}", f"train.timeout={timeout}"]
    train(file, given, comm, quiet=True)


def _prepares(comm: Comm, ready: Path) -> None:
    def prepare() -> None:
        ready.touch()
        time.sleep(FOREVER)

    comm.from_rank_zero(prepare)


def _closes(comm: Comm, ready: Path) -> None:
    """Rank 1 has nothing more to do, and rank 0 has."""
    if comm.rank == 0:
        ready.touch()
        time.sleep(FOREVER)


def _until(path: Path, ranks: list[BaseProcess], size: int = 0) -> None:
    end = time.monotonic() + 60
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < end, f"{path} does not come"
        assert all(rank.is_alive() for rank in ranks)
        time.sleep(0.02)


@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_cut_of_a_moment_is_waited_for_and_a_cut_for_good_is_left_by_both_ranks(tmp_path: Path) -> None:
    file, port = tmp_path / "c.yaml", 29400
    file.write_text(CONFIG)
    with Hosts() as hosts:
        jobs = {
            "training": hosts.start(
                port, tmp_path / "training", MAX_MISSED_BEATS, _trains, file, tmp_path / "a", 600
            ),
            "preparing": hosts.start(
                port + 1, tmp_path / "preparing", MAX_MISSED_BEATS, _prepares, tmp_path / "p"
            ),
            "closing": hosts.start(port + 2, tmp_path / "closing", MAX_MISSED_BEATS, _closes, tmp_path / "c"),
        }
        everybody = [rank for ranks in jobs.values() for rank in ranks]
        printed = tmp_path / "a" / "metrics.jsonl"
        for ready in (tmp_path / "p", tmp_path / "c", printed):
            _until(ready, everybody, size=ready == printed)
        hosts.cut()
        time.sleep(3)
        hosts.mend()
        _until(printed, everybody, size=printed.stat().st_size + 20_000)
        # one whose collectives wait for less than a missing sign of life
        short = hosts.start(port + 3, tmp_path / "short", 60, _trains, file, tmp_path / "b", 1.5)
        _until(tmp_path / "b" / "checkpoints" / "epoch-00000010", short)
        hosts.cut()
        for name, ranks in {**jobs, "short": short}.items():
            for number, rank in enumerate(ranks):
                rank.join(45)
                said = (tmp_path / f"{name}.{number}").read_text()
                assert rank.exitcode == 1, f"{name}: rank {number}: {said or 'still there'}"
                assert "lost contact with " in said, name
                assert "Traceback" not in said
    for name in ("a", "b"):
        epochs = 20 + int(list_checkpoints(tmp_path / name / "checkpoints")[0].name.removeprefix("epoch-"))
        resumed, undisturbed = run(tmp_path, 2, epochs, name), run(tmp_path, 2, epochs, f"{name}-undisturbed")
        assert metrics(resumed) == metrics(undisturbed)
        wanted = tensors(undisturbed)
        assert all(tensor.equal(wanted[name]) for name, tensor in tensors(resumed).items())
