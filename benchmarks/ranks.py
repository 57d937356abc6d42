"""One rank and two, of one thread each: an epoch of Adam and a sweep of ALS, on made-up ratings.

    python -m benchmarks.ranks [--ratings 1e6,1e7,5e7] [--repeats 3] [--network 100mbit,1gbit/1ms]
        [--feedback implicit]

Strong scaling: the same ratings on two ranks. Weak scaling: as many ratings a rank, so twice as many
users; items are the same. Every run is of fresh processes, gloo between them, one and two ranks in turn.
An epoch's time is the median of a run's without the first two; of the repeats, median (min to max).
Time in sums over the ranks is that of the rank which spends less in them: the other waits for it. The
costs of one rank and two are compared wherever they are printed; the largest relative difference is given.

--network (Linux, root, iproute2) also runs two ranks in two network namespaces, joined by a cable of
such a rate in each direction, and such a delay, where the kernel can do it.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.machine import machine, spread
from benchmarks.network import PORT, Cable, joined, missing
from benchmarks.rank import Settings

RATINGS_A_USER = 143.1  # of MovieLens 10M
WARM_UP = 2


@dataclass
class Case:
    """One line of the table; a run adds to its lists."""

    what: str
    settings: Settings
    ranks: int
    cable: Cable | None = None
    seconds: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    costs: dict[str, float] = field(default_factory=dict)
    note: str = ""


def run(case: Case) -> None:
    """Let the ranks measure, and add what they do."""
    add(case, measured(case))


def measured(case: Case) -> list[dict[str, Any]]:
    """Start the ranks, wait for them, and return what each measured."""
    before: Sequence[Sequence[str]] = [[]] * case.ranks
    host, interface = "127.0.0.1", "lo"
    with ExitStack() as held:
        folder = held.enter_context(tempfile.TemporaryDirectory())
        if case.cable is not None:
            before, (host, _), case.note = held.enter_context(joined(case.cable))
            interface = PORT
            if case.note:
                case.what = case.what.removesuffix(f" {case.cable.delay}")
        given, result = Path(folder) / "settings.json", Path(folder) / "result.json"
        given.write_text(json.dumps(asdict(case.settings)))
        shared = {"WORLD_SIZE": str(case.ranks), "MASTER_ADDR": host, "MASTER_PORT": str(_free_port())}
        # apart by a cable, the ranks are on two machines
        shared |= {"LOCAL_WORLD_SIZE": str(1 if case.cable else case.ranks)}
        shared |= {"GLOO_SOCKET_IFNAME": interface, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "benchmarks.rank", str(given), str(result)]
        ranks = [
            subprocess.Popen([*before[rank], *command], env={**os.environ, **shared, "RANK": str(rank)})
            for rank in range(case.ranks)
        ]
        try:
            codes = [rank.wait() for rank in ranks]
            if any(codes):
                raise SystemExit(f"benchmarks.ranks: a rank failed: {case.what}, {case.settings}")
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
        found: list[dict[str, Any]] = json.loads(result.read_text())
    return found


def add(case: Case, all_times: Sequence[dict[str, Any]]) -> None:
    """What the ranks of one run measured."""
    epochs = all_times[0]["epochs"][WARM_UP:]
    least = min(sum(times["sums"][WARM_UP:]) for times in all_times)
    case.seconds.append(median(epochs))
    case.shares.append(100 * least / sum(epochs))
    case.costs = all_times[0]["costs"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def cases(args: argparse.Namespace, optimizer: str, ratings: int, cables: Sequence[Cable]) -> list[Case]:
    """One rank; two on the same ratings and on twice as many; two with a cable between them."""

    def of(number: int) -> Settings:
        users = round(number / RATINGS_A_USER)
        shape = users, args.items, number, args.features, args.epochs
        return Settings(optimizer, *shape, feedback=args.feedback)

    return [
        Case("one rank", of(ratings), 1),
        Case("strong", of(ratings), 2),
        *([] if args.no_weak else [Case("weak", of(2 * ratings), 2)]),
        *(Case(f"strong, {cable.rate} {cable.delay}".strip(), of(ratings), 2, cable) for cable in cables),
    ]


def line(case: Case, alone: Case) -> str:
    """Of the table."""
    faster = [a / b for a, b in zip(alone.seconds, case.seconds, strict=True)]
    if case.what == "weak":
        gain, cost = f"{100 * median(faster):.0f} % of one rank's speed, each", ""
    else:
        gain = f"{spread(faster)} times faster" if case.ranks > 1 else ""
        far = max(abs(cost / alone.costs[epoch] - 1) for epoch, cost in case.costs.items())
        cost = f"{far:.1e}" if case.ranks > 1 else ""
    shares = f"{spread(case.shares, 1)} %" if case.ranks > 1 else ""
    s = case.settings
    cells = [s.optimizer, f"{s.ratings:,}", case.what, spread(case.seconds, 4), gain, shares, cost]
    return f"| {' | '.join(cells)} |"


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", default="1e6,1e7,5e7")
    parser.add_argument("--items", type=int, default=10_677)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--optimizers", default="adam,als")
    parser.add_argument("--feedback", choices=["explicit", "implicit"], default="explicit")
    parser.add_argument("--no-weak", action="store_true", help="strong scaling only")
    parser.add_argument("--network", default="", metavar="RATE[/DELAY],...")
    args = parser.parse_args()
    if args.epochs <= WARM_UP:
        parser.error(f"--epochs: more than {WARM_UP}, which are for warming up")
    return args


def main() -> None:
    """Every case in turn, as often as asked for; then the table."""
    args = parse()
    cables = [Cable(*given.split("/")) for given in args.network.split(",") if given]
    if cables and (why := missing()):
        print(f"no limited network: {why}")
        cables = []
    torch.set_num_threads(1)
    print(
        f"{machine()}; two ranks of one thread each, gloo;"
        f" {args.feedback} feedback, {args.items:,} items, {args.features} features"
    )
    size = 4 * args.items * args.features
    print(f"Adam: a rank sends {size / 1e6:.2f} MB an epoch (X's bytes x 2 (P - 1) / P, P = 2)\n")
    print("| | ratings | | s an epoch | | in sums | costs differ by |\n|---|---|---|---|---|---|---|")
    notes = set()
    for ratings in (int(float(number)) for number in args.ratings.split(",")):
        for optimizer in args.optimizers.split(","):
            todo = cases(args, optimizer, ratings, cables)
            for _ in range(args.repeats):
                for case in todo:
                    run(case)
            for case in todo:
                print(line(case, todo[0]), flush=True)
            notes |= {case.note for case in todo if case.note}
    for note in sorted(notes):
        print(note)


if __name__ == "__main__":
    main()
