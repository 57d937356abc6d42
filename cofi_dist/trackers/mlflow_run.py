"""Record a run in MLflow: parameters, metrics, the model as an artifact, and the outcome."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from cofi_dist.files.atomic import write_atomically
from cofi_dist.system.variables import read_variable
from cofi_dist.trackers.callback import Metrics, Outcome, RunFacts, with_prefix
from cofi_dist.trackers.tracker import Tracker, folder_of

EXPERIMENT = "cofi-dist"
RECORD = "mlflow.json"
MOST_AT_ONCE = 100  # parameters, tags or metrics; a store takes so many in one call
LONGEST_VALUE = 500
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
Entity = TypeVar("Entity")


class MlflowRun(Tracker):
    """Record a run in the store that MLflow's variables name, or in one of its own in the run directory."""

    def on_start(self, run: RunFacts) -> None:
        folder = folder_of(run)
        uri, own_artifacts = read_variable("MLFLOW_TRACKING_URI"), None
        if not uri:
            uri, own_artifacts = f"sqlite:///{folder / 'mlflow.db'}", (folder / "mlflow-artifacts").as_uri()
        self._client = MlflowClient(tracking_uri=uri)
        self._pending: list[Metric] = []
        recorded = _find_recorded(self._client, folder / RECORD, uri)
        if recorded is None:
            experiment = _experiment(self._client, own_artifacts)
            recorded = self._client.create_run(experiment, run_name=folder.parent.name)
        else:
            self._client.update_run(recorded.info.run_id, status="RUNNING")
        self._id = recorded.info.run_id
        write_atomically(folder / RECORD, json.dumps({"uri": uri, "run": self._id}) + "\n")
        history = self._client.get_metric_history(self._id, "cost")
        self._steps = {metric.step for metric in history}
        self._log_parameters(run, recorded)
        self.where = f"run {self._id} in {uri}"

    def _log_parameters(self, run: RunFacts, recorded: Run) -> None:
        """Record the config as parameters; what has changed since the run began is recorded as a tag."""
        given = {name: _text(value) for name, value in run.config.items()}
        before = recorded.data.params
        new = [Param(name, value) for name, value in given.items() if name not in before]
        tags = [
            RunTag(f"resumed.{name}", value)
            for name, value in given.items()
            if before.get(name, value) != value
        ]
        tags += [RunTag(name, _text(value)) for name, value in run.facts.items()]
        for some_params in _batches(new):
            self._client.log_batch(self._id, params=some_params)
        for some_tags in _batches(tags):
            self._client.log_batch(self._id, tags=some_tags)

    def on_metrics(self, metrics: Metrics) -> None:
        if metrics.epoch in self._steps:  # recorded before the run was resumed
            return
        now = int(time.time() * 1000)
        self._pending += [
            Metric(name, value, now, metrics.epoch) for name, value in metrics.scalars().items()
        ]

    def flush(self) -> None:
        for some in _batches(self._pending):
            self._client.log_batch(self._id, metrics=some)
        self._pending = []

    def on_end(self, outcome: Outcome) -> None:
        self.flush()
        for name, figure in with_prefix("model_validation_", outcome.validation).items():
            self._client.log_metric(self._id, name, figure, step=outcome.epoch or 0)
        if outcome.model is not None:
            self._client.log_artifacts(self._id, str(outcome.model), "model")
        self._client.set_tag(self._id, "outcome", outcome.message or outcome.status)
        self._client.set_terminated(self._id, STATUS[outcome.status])


def _find_recorded(client: MlflowClient, record: Path, uri: str) -> Run | None:
    """Return the run that was recorded in this store before this one was resumed; None if there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError, MlflowException):
        known = json.loads(record.read_text())
        if known["uri"] == uri:
            found: Run = client.get_run(known["run"])
            return found if found.info.lifecycle_stage == "active" else None
    return None


def _experiment(client: MlflowClient, own_artifacts: str | None) -> str:
    """Return the id of the experiment that MLflow's variables name, which is made if it does not exist."""
    if identity := read_variable("MLFLOW_EXPERIMENT_ID"):
        return identity
    name = read_variable("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            made: str = client.create_experiment(name, artifact_location=own_artifacts)
            return made
        except MlflowException:  # another run has made it meanwhile
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _text(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _batches(entities: Sequence[Entity]) -> Iterator[Sequence[Entity]]:
    for start in range(0, len(entities), MOST_AT_ONCE):
        yield entities[start : start + MOST_AT_ONCE]
