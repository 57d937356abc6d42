"""Be the process of a tracker: read reports from stdin, and answer on stdout."""

import json
import os
import signal
import sys
import threading
import time
from typing import IO, Any

from cofi_dist.trackers.callback import Outcome, RunFacts, call, method_name
from cofi_dist.trackers.json_lines import from_json
from cofi_dist.trackers.recipient import described
from cofi_dist.trackers.tracker import make_tracker

SECONDS_AFTER_PARENT = 30
KILLED = Outcome(status="failed", message="the process of the training was killed")


def main(name: str) -> None:
    """Serve the tracker of this name until the run ends, or its process does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # sent to all of a job; the training says when to end
    threading.Thread(target=_outlive_no_parent, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes to the log
    tracker, is_begun = make_tracker(name), False
    for line in sys.stdin.buffer:
        reports = from_json(line)
        answer: dict[str, Any] = {}
        for report in reports:
            what = method_name(report)
            try:
                call(tracker, report)
                if report is reports[-1] and not isinstance(report, Outcome):
                    tracker.flush()
            except BaseException as error:
                _answer(answers, {"error": f"{what}: {described(error)}"})
                raise
            is_begun = True
            if isinstance(report, RunFacts):
                answer["note"] = tracker.where
            answer["ended"] = isinstance(report, Outcome)
        _answer(answers, answer)
        if answer["ended"]:
            return
    if is_begun:
        tracker.on_end(KILLED)


def _answer(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(f"{json.dumps(answer)}\n")


def _outlive_no_parent(parent: int) -> None:
    """End this process some time after the training's, even if the library hangs."""
    while os.getppid() == parent:
        time.sleep(1)
    time.sleep(SECONDS_AFTER_PARENT)
    os._exit(1)
