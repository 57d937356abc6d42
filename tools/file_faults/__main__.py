"""Every file call of every command that writes, made to fail or to be the last one; and what comes of it.

    python -m tools.file_faults [--command NAME] [--most N] [--folder DIR]

In a tiny run of each command the n-th write, sync, rename, open, close, ... below its folder fails, for
every n, with the errors of a full or broken disk, once or from then on; or the process is killed there, or in
the middle of a write. Good is what ends whole with 0; or in one line and another exit code, with nothing
half-written under a final name, and the same command then giving the same bits.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tools.file_faults.commands import COMMANDS, served
from tools.file_faults.outcome import GOOD, Bench, Undisturbed, faults
from tools.file_faults.server import Fault, Server


def main() -> None:
    """Try them all; a line for every bad outcome, and a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--command", choices=COMMANDS, action="append")
    parser.add_argument("--fault", default="", help="only kinds of fault whose name contains this")
    parser.add_argument("--most", type=int, default=None, help="a sample of so many of each command")
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    counts: Counter[tuple[str, str, str]] = Counter()
    with tempfile.TemporaryDirectory(dir=args.folder) as name, served() as url:
        folder = Path(name).resolve()
        with Server(folder, url) as server:
            bench = Bench(folder, server)
            for command in args.command or COMMANDS:
                want = bench.undisturbed(command)
                print(f"{command}: {_calls(want)}", flush=True)
                for kind, fault in chosen(want, args.fault, args.most):
                    outcome = bench.try_(command, fault, want)
                    counts[command, kind, outcome if outcome in GOOD else "BAD"] += 1
                    if outcome not in GOOD:
                        print(f"{command}, {kind} at {fault.at}: {outcome}", flush=True)
    for (command, kind, outcome), count in sorted(counts.items()):
        print(f"{count:5}  {command:28} {kind:28} {outcome}")
    sys.exit(any(outcome == "BAD" for _, _, outcome in counts))


def chosen(want: Undisturbed, name: str = "", most: int | None = None) -> list[tuple[str, Fault]]:
    """The faults whose kind contains a name; the same sample of them each time."""
    found = [(kind, fault) for kind, fault in faults(want.seen) if name in kind]
    return found if most is None else random.Random(0).sample(found, min(most, len(found)))


def _calls(want: Undisturbed) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in want.seen.items() if kind and count)


if __name__ == "__main__":
    main()
