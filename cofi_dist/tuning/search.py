"""Search a space of settings: trials that a sampler chooses, trained by any number of workers at once.

A worker is one process, or the ranks of one torchrun. Rank 0 begins trials and records how they ended; the
lock of a trial's run directory says which worker has it. A worker that is gone has no lock, so another one
goes on with its trial.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cofi_dist.config import Config, load_config
from cofi_dist.config.strict_yaml import parse
from cofi_dist.data.readers.ratings_input import RatingsInput
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import RunError, StoppedError
from cofi_dist.run.deadline import stop_time
from cofi_dist.run.directory import RunDirectory
from cofi_dist.run.lock import MAX_MISSED_RENEWALS, RENEW_SECONDS, STALE_SECONDS, HeldError, last_renewal
from cofi_dist.run.screen import Screen
from cofi_dist.run.stop import StopRequest
from cofi_dist.run.train import train_config
from cofi_dist.run.training_run import Manner
from cofi_dist.run_layout import is_run
from cofi_dist.training.metrics import Criterion
from cofi_dist.training.trainer import DivergedError
from cofi_dist.tuning.compared import in_words
from cofi_dist.tuning.journal import Journal
from cofi_dist.tuning.space import Axis, Configure, check_space, parse_space


@dataclass(frozen=True, kw_only=True)
class Search:
    """Say what is searched, and where.

    Attributes:
        space: what varies.
        configure: returns the config of a trial, given overrides.
        config: that of one corner of the space.
        criterion: the figure that judges the trials.
        output: the directory of the journal and of the trials.
    """

    space: list[Axis]
    configure: Configure
    config: Config
    criterion: Criterion
    output: Path

    def run_dir(self, number: int) -> Path:
        """Return the run directory of a trial."""
        return self.output / f"trial-{number:04}"

    def open_journal(self) -> Journal:
        """Open the journal; see `Journal`."""
        return Journal(self.output, self.space, self.criterion, self.config)

    def config_of(self, number: int, settings: dict[str, str]) -> Config:
        """Return the config of a trial: it goes on with itself if it was broken off."""
        config = self.configure([f"{key}={value}" for key, value in settings.items()])
        checkpoint = config.checkpoint.model_copy(update={"resume": "auto"})
        return config.model_copy(update={"run_dir": str(self.run_dir(number)), "checkpoint": checkpoint})


def file_search(file: Path, words: Sequence[str], overrides: Sequence[str], output: Path) -> Search:
    """Return the search of a space from a config file, after checking its corners.

    Args:
        file: the YAML config.
        words: texts `KEY=WORD`; see `parse_space`.
        overrides: texts `KEY=VALUE` for all trials.
        output: the directory for the trials.

    Raises:
        ConfigError: the space, or the config of one of its corners, cannot be used.
    """
    space = parse_space(words)

    def configure(settings: Sequence[str]) -> Config:
        return load_config(file, [*overrides, *settings])

    config, criterion = check_space(space, configure, overrides, str(file))
    return Search(space=space, configure=configure, config=config, criterion=criterion, output=output)


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Train trials, as one of the workers of a search.

    Attributes:
        search: the same on all ranks.
        trials: how many there are to be, of all workers together.
        comm: the ranks.
        stop: whether this process has been asked to stop.
        screen: shows each run.
        say: is called on rank 0 with lines about the trials.
        file: the config file, if there is one, which no run may overwrite.
        given: the table of ratings, as for `train_config`.
        since: from when `train.deadline` counts; see `stop_time`.
    """

    search: Search
    trials: int
    comm: Comm
    stop: StopRequest
    screen: Screen
    say: Callable[[str], object]
    file: Path | None = None
    given: RatingsInput | None = None
    since: float | None = None

    def work(self) -> None:
        """Train trials until there are so many, or the other workers are training the last ones.

        Collective: all ranks call it.

        Raises:
            CofiError: a trial cannot be trained, or the journal cannot be used.
            StoppedError: the worker was asked to stop; any worker goes on with its trial later.
        """
        found: list[_Trials] = []  # on rank 0
        self.comm.from_rank_zero(lambda: found.append(_Trials(self.search, self.trials, self.stop)))
        while self._train_next(found[0] if found else None):
            pass

    def _train_next(self, trials: "_Trials | None") -> bool:
        """Train one trial, and return False if there is none; rank 0 has the trials."""
        comm, stop = self.comm, self.stop
        _require_unstopped(comm, stop)
        with ExitStack() as claimed:
            number = comm.from_rank_zero(lambda: None if trials is None else trials.next_trial(claimed))
            if number is None:
                return False
            config = Config.model_validate(comm.from_rank_zero(lambda: self._config(number, trials)))
            run = RunDirectory(config.run_dir) if trials is None else trials.claimed
            stop.watch(run.path, comm.from_rank_zero(lambda: stop_time(config.train.deadline, self.since)))
            judge = _judge_elsewhere if trials is None else trials.judge
            manner = Manner(screen=self.screen, keeps_diverged=True, judge=judge)
            try:
                train_config(config, run, comm, stop, manner, file=self.file, given=self.given)
            except DivergedError as error:
                if comm.rank == 0:
                    self.say(f"    {error}")
            said = comm.from_rank_zero(lambda: "" if trials is None else trials.tell())
            if said and comm.rank == 0:
                self.say(f"    {said}")
        return True

    def _config(self, number: int, trials: "_Trials | None") -> dict[str, Any]:
        """Return the config of a trial, whose settings may still have to be chosen; rank 0 calls it."""
        assert trials is not None
        settings = trials.journal.settings(number)
        what = ", ".join(f"{key}={_shortened(value)}" for key, value in settings.items())
        self.say(f"trial {number} of {self.trials}  {what}")
        return self.search.config_of(number, settings).model_dump(exclude_none=True)


def _judge_elsewhere(epoch: int, figure: float) -> str:
    raise AssertionError("rank 0 alone judges")


def _require_unstopped(comm: Comm, stop: StopRequest) -> None:
    (is_asked,) = comm.max_over_ranks(int(stop.is_requested()))
    if is_asked:
        reason = next(text for text in comm.all_gather_objects(stop.reason) if text)
        raise StoppedError(
            f"stopped by {reason} between two trials; start the search again to go on", shared=True
        )


class _Trials:
    """Find trials for one worker, and record how they ended; rank 0 has it.

    Args:
        search: what is searched.
        trials: how many trials there are to be, of all workers.
        stop: whether this process has been asked to stop.

    Attributes:
        journal: of the search.
        claimed: the directory of the latest trial.
    """

    def __init__(self, search: Search, trials: int, stop: StopRequest) -> None:
        self._search, self._trials, self._stop = search, trials, stop
        self.journal = search.open_journal()
        self.claimed = RunDirectory(search.output)
        self._number = -1
        self._looks_back = True

    def next_trial(self, claimed: ExitStack) -> int | None:
        """Return the number of a trial to train: one that a worker left, or a new one; None if none is left.

        Args:
            claimed: receives the claim to its directory.
        """
        if self._looks_back and (number := self._left_by_others(claimed)) is not None:
            return number
        self._looks_back = False
        while len(self.journal.trials()) < self._trials:
            number = self.journal.begin()
            # others may have begun the last ones meanwhile; a search of more trials will go on with this one
            if number < self._trials and self._claim(number, claimed):
                return number
        return self._given_up(claimed)

    def _given_up(self, claimed: ExitStack) -> int | None:
        """Return a trial whose worker is gone, after waiting until that is known of all workers.

        A worker that was killed on another host is known to be gone once its lock is old.
        """
        first: dict[int, int] = {}
        end = time.monotonic() + STALE_SECONDS + MAX_MISSED_RENEWALS * RENEW_SECONDS
        while True:
            if (number := self._left_by_others(claimed)) is not None:
                return number
            unfinished = [
                t.number for t in self.journal.trials()[: self._trials] if not t.state.is_finished()
            ]
            renewals = {number: last_renewal(self._search.run_dir(number)) for number in unfinished}
            may_be_gone = [number for number, at in renewals.items() if first.setdefault(number, at) == at]
            if not may_be_gone or self._stop.is_requested() or time.monotonic() > end:
                return None
            time.sleep(RENEW_SECONDS)

    def _left_by_others(self, claimed: ExitStack) -> int | None:
        """Return a trial that was begun, is not ended, and that no worker has."""
        for trial in self.journal.trials()[: self._trials]:
            if not trial.state.is_finished() and self._claim(trial.number, claimed):
                return trial.number
        return None

    def _claim(self, number: int, claimed: ExitStack) -> bool:
        """Claim the directory of a trial, and return whether it is to be trained; tell it if it has ended."""
        run = RunDirectory(self._search.run_dir(number))
        with ExitStack() as stack:
            try:
                stack.enter_context(run.claim(self._stop.on_lock_lost))
            except HeldError:
                return False
            self.claimed, self._number = run, number
            trial = self.journal.trials()[number]
            if trial.state.is_finished():  # since it was looked at
                return False
            if not trial.params and is_run(run.path):
                raise RunError(
                    f"{run}: holds a run that {self.journal.file.name} does not know; give another --output"
                )
            if run.read_result() is not None:  # its worker was killed before it could tell
                self.tell()
                return False
            claimed.enter_context(stack.pop_all())
        return True

    def judge(self, epoch: int, figure: float) -> str:
        """See `Journal.judge`."""
        return self.journal.judge(self._number, epoch, figure)

    def tell(self) -> str:
        """Record how the claimed trial has ended, as its files have it, and say it in words."""
        result, criterion = self.claimed.read_result(), self._search.criterion
        assert result is not None
        figure = result.validation(criterion.metric)
        is_whole = not (result.diverged or result.pruned)
        self.journal.tell(self._number, figure, is_whole=is_whole)
        return "" if result.diverged else in_words(result, criterion)


def _shortened(value: str) -> str:
    """Return a setting in YAML with at most four digits, for the screen."""
    number = parse(value)
    return f"{number:.4g}" if isinstance(number, float) else value
