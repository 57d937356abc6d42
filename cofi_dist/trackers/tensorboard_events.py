"""Write the printed epochs of a run as scalars for TensorBoard."""

import time

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from cofi_dist.run_layout import TENSORBOARD
from cofi_dist.trackers.callback import Metrics, Outcome, RunFacts
from cofi_dist.trackers.tracker import Tracker


class TensorBoardEvents(Tracker):
    """Write event files into the run directory."""

    def on_start(self, run: RunFacts) -> None:
        assert run.run_dir is not None
        self._writer = EventFileWriter(str(run.run_dir / TENSORBOARD))
        if run.epoch:  # TensorBoard then drops the later epochs of earlier files, which are trained again
            self._add(Event(step=run.epoch + 1, session_log=SessionLog(status=SessionLog.START)))

    def on_metrics(self, metrics: Metrics) -> None:
        values = [Summary.Value(tag=name, simple_value=figure) for name, figure in metrics.scalars().items()]
        self._add(Event(step=metrics.epoch, summary=Summary(value=values)))

    def on_end(self, outcome: Outcome) -> None:
        self._writer.close()

    def flush(self) -> None:
        self._writer.flush()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.add_event(event)
