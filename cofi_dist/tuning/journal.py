"""Keep the trials of a search in a journal of Optuna, which all its workers share."""

import importlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cofi_dist.config import Config
from cofi_dist.config.diff import FREE, changes, is_within
from cofi_dist.config.strict_yaml import to_yaml
from cofi_dist.errors import ConfigError, RunError, SaveError
from cofi_dist.training.metrics import Criterion
from cofi_dist.tuning.space import Axis, Range

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

JOURNAL = "trials.journal"
NAME = "search"
# What workers of one search may have of their own.
MAY_DIFFER = tuple(key for key in FREE if key != "train.epochs")
LEAST_FOR_IMPORTANCES = 10  # trials
# In the first quarter of its epochs, what a trial has reached says more of its speed than of its end.
WARM_UP = 4
# A worker that was killed while it held the lock of the journal holds up the others for as long as this. What
# is done under the lock takes milliseconds.
GRACE_SECONDS = 10


def require_optuna() -> None:
    """Raise ConfigError if Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("a search needs Optuna: pip install 'cofi-dist[tune]'")


def _import_optuna() -> None:
    """Import Optuna for the first time.

    It keeps the exceptions of what it could not import, and with them all functions that are waiting for it:
    in this thread, they would be those that hold the ratings.
    """
    with ThreadPoolExecutor(1) as pool:
        pool.submit(importlib.import_module, "optuna").result()


class Journal:
    """Ask for trials, report on them and tell how they ended; one process of a worker does so.

    Args:
        output: the directory of the search, which holds the file; made if it does not exist.
        space: what varies.
        criterion: the figure by which trials are compared.
        config: of one corner of the space. Its seed is that of the trials' settings, too: those of trial N
            depend on it, on N, and on what was told before.

    Raises:
        RunError: the file cannot be read, or is of another search.
        SaveError: the file cannot be written.
    """

    def __init__(self, output: Path, space: Sequence[Axis], criterion: Criterion, config: Config) -> None:
        _import_optuna()
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.file = output / JOURNAL
        self._space, self._seed = space, config.seed
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{output}: cannot be made: {error.strerror or error}") from None
        with self._readable():
            self._study = _open(self.file, criterion, config.train.epochs // WARM_UP)
        self._require_same([str(axis) for axis in space], config)

    def _require_same(self, space: list[str], config: Config) -> None:
        """Record what is searched, or raise unless it is what was recorded."""
        with self._readable():
            known = self._study.user_attrs.get(NAME)
            if known is None:
                self._study.set_user_attr(
                    NAME, {"space": space, "config": config.model_dump(exclude_none=True)}
                )
                return
        if known["space"] != space:
            raise RunError(f"{self.file}: is of the space {' '.join(known['space'])}; give another --output")
        for key, before, after in changes(known["config"], config):
            if not is_within(key, MAY_DIFFER):
                raise RunError(
                    f"{self.file}: is of a search with {key}: {before}, not {after}; give another --output"
                )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Report in one line that the journal cannot be read or written."""
        try:
            yield
        except OSError as error:
            raise SaveError(
                f"{self.file}: cannot be written: {error.strerror or error}; the trials are kept: start the"
                " search again to go on, once it can be written"
            ) from None
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
            raise RunError(
                f"{self.file}: is damaged ({type(error).__name__}: {error}); the runs beside it are intact;"
                " give another --output"
            ) from None

    def trials(self) -> "list[FrozenTrial]":
        """Return all trials that were ever begun, by number."""
        with self._readable():
            return self._study.get_trials(deepcopy=False)

    def begin(self) -> int:
        """Begin a trial, and return its number; its settings are still to be chosen."""
        with self._readable():
            return self._study.ask().number

    def settings(self, number: int) -> dict[str, str]:
        """Return the settings of a trial as YAML by key; those that were not chosen yet are chosen.

        One worker at a time does this for a trial: that which has claimed its directory.
        """
        import numpy as np
        from optuna.samplers import TPESampler

        seed = int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0])
        # As a worker may be any trial's, and may have been started anew, each trial has a seed of its own.
        self._study.sampler = TPESampler(seed=seed)
        with self._readable():
            trial = self._trial(number)
            return {axis.key: _chosen(trial, axis) for axis in self._space}

    def judge(self, number: int, epoch: int, figure: float) -> str:
        """Report a figure of a running trial, and say why it is to end; an empty text lets it go on."""
        with self._readable():
            trial = self._trial(number)
            known = self._study.get_trials(deepcopy=False)[number].intermediate_values
            if epoch not in known:  # a run that is resumed comes by some epochs once more
                trial.report(figure, epoch)
            is_poor = trial.should_prune()
        return "most trials had a better figure by then" if is_poor else ""

    def tell(self, number: int, figure: float | None, *, is_whole: bool) -> None:
        """Record how a trial has ended, unless that is known.

        Args:
            number: of the trial.
            figure: its best one; None if it has none.
            is_whole: whether it ended as its config says, and not by being pruned or by diverging.
        """
        from optuna.trial import TrialState

        with self._readable():
            if not is_whole or figure is None:
                self._study.tell(number, state=TrialState.PRUNED, skip_if_finished=True)
            else:
                self._study.tell(number, figure, skip_if_finished=True)

    def importances(self) -> dict[str, float]:
        """Return which part of the figure's differences each key explains, by Optuna's PED-ANOVA.

        Returns:
            The keys that vary, the most important one first; nothing if too few trials are whole.
        """
        from optuna.importance import get_param_importances
        from optuna.trial import TrialState

        whole = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        if len(whole) < LEAST_FOR_IMPORTANCES or len({trial.value for trial in whole}) == 1:
            return {}
        return get_param_importances(self._study)

    def _trial(self, number: int) -> "Trial":
        from optuna.trial import Trial

        return Trial(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)


def _open(file: Path, criterion: Criterion, warm_up: int) -> "Study":
    """Open the journal, or begin it; no trial is pruned before its epoch `warm_up`."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    class MendingLock(JournalFileOpenLock):
        """Remove what a worker left that was killed, or had no more space, in the midst of a line."""

        def acquire(self) -> bool:
            super().acquire()
            try:
                _cut_half_line(file)
            except BaseException:
                self.release()
                raise
            return True

        def release(self) -> None:
            with suppress(RuntimeError):  # this process was held up, and another one took the lock over
                super().release()

    lock = MendingLock(str(file), grace_period=GRACE_SECONDS)
    storage = JournalStorage(JournalFileBackend(str(file), lock_obj=lock))
    given: dict[str, Any] = {
        "storage": storage,
        "study_name": NAME,
        "sampler": optuna.samplers.RandomSampler(seed=0),  # a trial that begins has its own; see `settings`
        "pruner": optuna.pruners.MedianPruner(n_warmup_steps=warm_up),
    }
    if NAME in optuna.get_all_study_names(storage):  # or else a line would be added whenever it is opened
        return optuna.load_study(**given)
    given["direction"] = "minimize" if criterion.better == "lower" else "maximize"
    return optuna.create_study(**given, load_if_exists=True)


def _cut_half_line(file: Path) -> None:
    """Cut off what follows the last end of a line, if anything does; readers do not count it."""
    with file.open("r+b") as opened:
        end = opened.seek(0, os.SEEK_END)
        start = max(0, end - 2**16)  # a line has a few hundred bytes
        opened.seek(start)
        tail = opened.read()
        if tail and not tail.endswith(b"\n"):
            opened.truncate(start + tail.rfind(b"\n") + 1)


def _chosen(trial: "Trial", axis: Axis) -> str:
    """Return the value that a trial has of a key, as YAML."""
    if not isinstance(axis, Range):
        return str(trial.suggest_categorical(axis.key, axis.corners))
    if axis.is_whole:
        value: int | float = trial.suggest_int(axis.key, int(axis.low), int(axis.high), log=axis.is_log)
    else:
        value = trial.suggest_float(axis.key, axis.low, axis.high, log=axis.is_log)
    return to_yaml(value, one_line=True)
