"""Write reports as a line of JSON, and read them."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cofi_dist.trackers.callback import CheckpointReport, Metrics, Outcome, Report, RunFacts

KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (RunFacts, Metrics, CheckpointReport, Outcome)}
PATHS = ("run_dir", "model")


def to_json(reports: Sequence[Report]) -> str:
    """Return reports as one line."""
    return json.dumps([[type(report).__name__, _values(report)] for report in reports], default=str) + "\n"


def from_json(line: str | bytes) -> list[Report]:
    """Return the reports of a line."""
    return [_report(*each) for each in json.loads(line)]


def _values(report: Report) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(report) if field.name != "request_stop"]
    return {name: getattr(report, name) for name in names}


def _report(kind: str, values: dict[str, Any]) -> Report:
    paths = {name: Path(values[name]) for name in PATHS if values.get(name) is not None}
    made: Report = KINDS[kind](**{**values, **paths})
    return made
