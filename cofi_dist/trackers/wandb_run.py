"""Record a run in Weights & Biases: parameters, metrics, the model as an artifact, and the outcome."""

import os
import secrets
from pathlib import Path

import wandb

from cofi_dist.files.atomic import write_atomically
from cofi_dist.system.variables import read_variable, set_default
from cofi_dist.trackers.callback import Metrics, Outcome, RunFacts, with_prefix
from cofi_dist.trackers.tracker import Tracker, folder_of

PROJECT = "cofi-dist"
RECORD = "wandb.id"
EXIT_CODES = {"finished": 0, "stopped": 75, "failed": 1}


class WandbRun(Tracker):
    """Record a run, online or offline, as W&B's variables say; its files lie in the run directory."""

    def on_start(self, run: RunFacts) -> None:
        folder = folder_of(run)
        set_default("WANDB_DIR", str(folder))
        set_default("WANDB_DATA_DIR", str(folder / "wandb-data"))  # or copies of models would fill the home
        identity = read_variable("WANDB_RUN_ID") or _recorded(folder / RECORD) or secrets.token_hex(4)
        self._run = wandb.init(
            project=read_variable("WANDB_PROJECT") or PROJECT,
            name=read_variable("WANDB_NAME") or folder.parent.name,
            id=identity,
            resume="allow",
            config={**run.config, **run.facts},
            allow_val_change=True,
            settings=wandb.Settings(console="off", silent=True, x_stats_pid=os.getppid()),
        )
        write_atomically(folder / RECORD, f"{identity}\n")
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")
        self.where = f"run {identity}, {self._run.url or f'offline in {self._run.dir}'}"

    def on_metrics(self, metrics: Metrics) -> None:
        self._run.log({"epoch": metrics.epoch, **metrics.scalars()}, step=metrics.epoch)

    def on_end(self, outcome: Outcome) -> None:
        self._run.summary.update(with_prefix("model_validation_", outcome.validation))
        self._run.summary["outcome"] = outcome.message or outcome.status
        if outcome.model is not None:
            artifact = wandb.Artifact(f"model-{self._run.id}", type="model")
            artifact.add_dir(str(outcome.model))
            self._run.log_artifact(artifact)
        if outcome.status == "stopped":
            self._run.mark_preempting()
        self._run.finish(exit_code=EXIT_CODES[outcome.status])


def _recorded(record: Path) -> str:
    """Return the id of the run that was recorded before this one was resumed; empty if there is none."""
    try:
        return record.read_text().strip()
    except OSError:
        return ""
