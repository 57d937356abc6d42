"""Runs disturbed at random moments, and whether they end as the undisturbed one does.

    python -m tools.faults [--runs 200] [--seed 0] [--folder DIR] [--set KEY=VALUE ...]

Every run has 2 or 3 ranks under torchrun, which may restart them; when it gives up or is gone, the same
command is given again, as an operator would. The end is compared with that of an undisturbed run on as
many ranks: every printed cost, every tensor of the last checkpoint and of the model, bit for bit. A fault
that met nothing is tried again at another moment.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cofi_dist.checkpoint.manifest import list_checkpoints, read_manifest, verify
from cofi_dist.errors import CheckpointError
from tests.support.runs import metrics, tensors

EPOCHS, EVERY = 1200, 20
CONFIG = f"""
data: {{synthetic: {{num_users: 400, num_items: 500, num_ratings: 20000}}, validation: {{}}}}
model: {{num_features: 16, item_bias: true}}
train: {{epochs: {EPOCHS}, log_every: 20, lr: 0.01, dtype: float64, timeout: 4.0}}
validation: {{every: 15}}
checkpoint: {{every: {EVERY}, resume: auto, max_failures: 1000}}
"""
GOOD, MISSED = "the same bits", "the fault met nothing"
MOST_STARTS, MOST_SECONDS, MOST_REPEATS = 8, 180.0, 4
DISK_BYTES = 12 * 2**20


@dataclass
class Case:
    """One run to be disturbed.

    Attributes:
        folder: holds c.yaml and, once it runs, `run` and `log`.
        ranks: how many.
        rng: of this run.
        overrides: `KEY=VALUE` texts that change CONFIG.
        resumed_from: the newest whole checkpoint before each start but the first.
        hit: whether there was something to be harmed, as far as the fault could tell.
    """

    folder: Path
    ranks: int
    rng: random.Random
    overrides: Sequence[str] = ()
    resumed_from: list[int] = field(default_factory=list)
    hit: bool = True

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    @property
    def checkpoints(self) -> Path:
        return self.run_dir / "checkpoints"

    def start(self) -> subprocess.Popen[bytes]:
        """torchrun, in a session of its own."""
        self.folder.joinpath("c.yaml").write_text(CONFIG)
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={self.ranks}"]
        options = ["--max-restarts=2", "--monitor-interval=0.1", "--shutdown-timeout=3"]
        command = [sys.executable, *launcher, *options, "-m", "cofi_dist", "train", "--config", "c.yaml"]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*command, *self.overrides, f"run_dir={self.run_dir}"],
                cwd=self.folder,
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def workers(self, agent: int) -> list[int]:
        """Process ids of the ranks."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = status.read_text().rpartition(")")[2].split()
                if int(fields[1]) == agent and fields[0] != "Z":
                    found.append(int(status.parent.name))
        return sorted(found)

    @property
    def said(self) -> str:
        """All that the run printed so far."""
        return (self.folder / "log").read_text(errors="replace")

    def newest_whole(self) -> int:
        """Epoch of the newest checkpoint that can be read; 0 for none."""
        for directory in list_checkpoints(self.checkpoints):
            with suppress(CheckpointError):
                manifest = read_manifest(directory)
                for part in manifest.parts:
                    verify(directory, part)
                return manifest.numbers.epoch
        return 0


def send(pids: list[int], number: int) -> bool:
    """Whether one of them was there."""
    hit = False
    for pid in pids:
        with suppress(OSError):
            hit |= Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
            os.kill(pid, number)
    return hit


def one_of(case: Case, agent: int) -> list[int]:
    workers = case.workers(agent)
    return case.rng.sample(workers, 1) if workers else []


def kill_rank(case: Case, agent: int) -> bool:
    return send(one_of(case, agent), signal.SIGKILL)


def kill_ranks(case: Case, agent: int) -> bool:
    return send(case.workers(agent), signal.SIGKILL)


def kill_agent(case: Case, agent: int) -> bool:
    return send([agent], signal.SIGKILL)


def stop_rank(case: Case, agent: int) -> bool:
    return send(one_of(case, agent), signal.SIGSTOP)


def terminate(case: Case, agent: int) -> bool:
    return send([agent], signal.SIGTERM)


def fill_disk(case: Case, agent: int) -> bool:
    """For a moment, nothing more fits; whether a save came upon it, the run's log says in the end."""
    filler = case.folder / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(2**16))
            file.flush()
    time.sleep(0.3)
    filler.unlink()
    return True


def _break_newest(case: Case, agent: int, harm: Callable[[Path], object]) -> bool:
    """All at once is killed; then a file of the newest checkpoint is harmed."""
    ran = send([agent, *case.workers(agent)], signal.SIGKILL)
    time.sleep(0.3)
    found = list_checkpoints(case.checkpoints)
    if found and ran and not (case.run_dir / "result.json").exists():  # a finished run reads none any more
        files = sorted(path for path in found[0].iterdir() if path.is_file())
        if files:
            harm(case.rng.choice(files))
            return True
    return False


def truncate(case: Case, agent: int) -> bool:
    return _break_newest(case, agent, lambda f: os.truncate(f, case.rng.randrange(max(1, f.stat().st_size))))


def flip(case: Case, agent: int) -> bool:
    def flip_a_bit(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[case.rng.randrange(len(content))] ^= 1 << case.rng.randrange(8)
        file.write_bytes(content)

    return _break_newest(case, agent, flip_a_bit)


def delete(case: Case, agent: int) -> bool:
    return _break_newest(case, agent, lambda f: f.unlink())


FAULTS: dict[str, Callable[[Case, int], bool]] = {
    "SIGKILL of a rank": kill_rank,
    "SIGKILL of all ranks": kill_ranks,
    "SIGKILL of the agent": kill_agent,
    "SIGSTOP of a rank": stop_rank,
    "SIGTERM": terminate,
    "disk full": fill_disk,
    "file truncated": truncate,
    "bit flipped": flip,
    "file deleted": delete,
}


def disturbed(case: Case, fault: Callable[[Case, int], bool], moment: str) -> str:
    """Run to the end through one fault; returns what went wrong, empty if nothing did.

    Args:
        case: to be run.
        fault: what happens.
        moment: `start`: within the first seconds; else some time after the first step.
    """
    agent = case.start()
    _wait_for(case, agent, moment)
    case.hit = fault(case, agent.pid)
    deadline = time.monotonic() + MOST_SECONDS
    for _ in range(MOST_STARTS):
        while agent.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if agent.poll() is None:
            os.killpg(agent.pid, signal.SIGKILL)
            return f"stuck: it did not end within {MOST_SECONDS:.0f} s"
        if (case.run_dir / "result.json").exists() and agent.returncode == 0:
            return ""
        _clear_stopped(agent.pid)
        case.resumed_from.append(case.newest_whole())
        agent = case.start()
    return f"not ended after {MOST_STARTS} starts"


def _wait_for(case: Case, agent: subprocess.Popen[bytes], moment: str) -> None:
    if moment == "start":
        time.sleep(case.rng.uniform(0, 5))
        return
    file, deadline = case.run_dir / "metrics.jsonl", time.monotonic() + 60
    while (
        time.monotonic() < deadline and agent.poll() is None and not (file.exists() and file.stat().st_size)
    ):
        time.sleep(0.005)
    time.sleep(case.rng.uniform(0, 1.5))


def _clear_stopped(group: int) -> None:
    """What a fault has stopped and nobody ended, as an operator would."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGCONT)


def differences(case: Case, whole: Path) -> str:
    """Where the end differs from the undisturbed run's; empty if it doesn't."""
    if metrics(case.run_dir) != metrics(whole):
        return "metrics differ"
    got, want = tensors(case.run_dir), tensors(whole)
    unlike = [name for name in want if not torch.equal(got[name], want[name])]
    if unlike:
        return f"tensors differ: {', '.join(unlike)}"
    taken = [int(epoch) for epoch in re.findall(r"gone on with from \S+/epoch-(\d+)", case.said)]
    for epoch in case.resumed_from:  # ranks without a launcher may have saved once more since
        if 0 < epoch < EPOCHS and not any(epoch <= other for other in taken):
            return f"the checkpoint of epoch {epoch} was not used"
    return ""


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of DISK_BYTES in the folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def undisturbed(folder: Path, ranks: int, overrides: Sequence[str] = ()) -> Path:
    """The run directory of a run that nothing happened to."""
    folder.mkdir(parents=True)
    case = Case(folder, ranks, random.Random(0), overrides)
    if case.start().wait() != 0:
        raise RuntimeError((folder / "log").read_text())
    return case.run_dir


def main() -> None:
    """Disturb so many runs; a line for every try, and a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--fault", choices=FAULTS, default=None)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    args = parser.parse_args()
    if args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(dir=args.folder))
    overrides = tuple(args.overrides)
    whole = {ranks: undisturbed(home / f"whole{ranks}", ranks, overrides) for ranks in (2, 3)}
    counts: Counter[tuple[str, str]] = Counter()
    repeats: Counter[str] = Counter()
    for number in range(args.runs):
        rng = random.Random(f"{args.seed}-{number}")
        name = args.fault or rng.choice(list(FAULTS))
        outcome, again = one(home / f"run{number}", name, whole, rng, number, overrides)
        counts[name, outcome] += 1
        repeats[name] += again
    for (name, outcome), count in sorted(counts.items()):
        print(f"{count:5}  {name:24}  {outcome}")
    for name, again in sorted(repeats.items()):
        print(f"{again:5}  {name:24}  tried again: it had met nothing")
    sys.exit(any(outcome != GOOD for _, outcome in counts))


def one(
    folder: Path,
    name: str,
    whole: dict[int, Path],
    rng: random.Random,
    number: int,
    overrides: Sequence[str] = (),
) -> tuple[str, int]:
    """A fault, tried until it meets something: the outcome, and how often it was tried again.

    The folder is left only where the outcome is bad.
    """
    ranks, moment, again = rng.choice([2, 3]), rng.choice(["start", "step", "step", "step"]), 0
    while (
        outcome := _attempt(Case(folder, ranks, rng, overrides), name, moment, whole[ranks], number)
    ) == MISSED and again < MOST_REPEATS:
        shutil.rmtree(folder)
        moment, again = "step", again + 1  # at the start there may be nothing to be met
    if outcome == GOOD:
        shutil.rmtree(folder)
    return outcome, again


def _attempt(case: Case, name: str, moment: str, whole: Path, number: int) -> str:
    """One run; returns the outcome."""
    folder, start = case.folder, time.monotonic()
    folder.mkdir()
    with small_disk(folder) if name == "disk full" else nullcontext():
        outcome = disturbed(case, FAULTS[name], moment) or differences(case, whole) or GOOD
        hit = case.hit and (name != "disk full" or "could not be saved" in case.said)
        if outcome == GOOD and not hit:
            outcome = MISSED
        starts, seconds = len(case.resumed_from) + 1, time.monotonic() - start
        print(
            f"{number:4} {name}, {case.ranks} ranks, {moment}: {outcome}, {starts} starts, {seconds:.0f} s",
            flush=True,
        )
        if outcome not in (GOOD, MISSED) and name == "disk full":
            shutil.copytree(folder, folder.with_name(f"{folder.name}-copy"))
    return outcome


if __name__ == "__main__":
    main()
