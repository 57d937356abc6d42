"""Tell others how a run goes on: callbacks written in Python, and trackers such as MLflow."""

from cofi_dist.trackers.callback import Callback, CheckpointReport, Metrics, Outcome, RunFacts

__all__ = ["Callback", "CheckpointReport", "Metrics", "Outcome", "RunFacts"]
