"""All benchmarks, one after another; each in a process of its own, its output in a file.

    python -m benchmarks --data FOLDER [--quick] [--only epoch,als,...] [--write-docs]

FOLDER holds ml-latest-small. --quick takes small sizes, to see in minutes that everything works: its
figures say nothing. --write-docs puts each output into docs/benchmarks.md, those of model, plan and fits
into docs/scaling.md, invariant's into docs/reproducibility.md, between the lines `<!-- begin NAME -->` and
`<!-- end NAME -->`, and each picture beside it. One that fails stops no other.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import torch

from benchmarks.machine import machine

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {
    "model": "scaling.md",
    "plan": "scaling.md",
    "fits": "scaling.md",
    "invariant": "reproducibility.md",
}  # the others are in benchmarks.md
SMALL = "--ratings 200000 --users 1400 --items 2000"
# options in full, and quick
BENCHMARKS = {
    "epoch": ("--repeats 9", "--repeats 1"),
    "kernels": ("", "--ratings 200000 --repeats 1"),
    "memory": ("", "--epochs 30 --features 16"),
    "saving": ("--pairs 30", "--pairs 1 --features 16"),
    "draw": ("", "--rows 1e6 --repeats 1 --seeds 2 --epochs 20"),
    "model_parts": ("", "--users 1e5 --items 1e3 --every-row"),
    "touched": ("", "--repeats 1"),
    "fit": ("", "--ratings 200000 --epochs 5 --rounds 1"),
    "als": ("--repeats 3", "--repeats 1 --no-cholesky"),
    "large": ("", f"{SMALL} --points spark=1,2 --points adam=20,40,80,160 --spark-memory 4g"),
    "implicit": (
        "",
        "--events 200000 --users 1400 --items 2000 --features 16 --points als=1-30 --points adam=20,40,80",
    ),
    "weights": ("", ""),
    "warm_start": ("", "--newest 0.1 --ratings 200000 --users 1400 --items 2000"),
    "update": ("--repeats 3", "--ratings 200000 --users 1400 --items 2000 --features 16"),
    "clicks": ("", "--trials 1 --folds 1 --others 1"),
    "ranks": (
        "--ratings 1e6,1e7 --network 100mbit,1gbit",
        "--ratings 1e5 --items 2000 --repeats 1 --network 1gbit",
    ),
    "items": ("", "--scale 0.02 --repeats 1"),
    "lists": ("", "--users 5000 --items 2000 --features 16 --repeats 1"),
    "evaluate": ("", "--ratings 200000 --users 1400 --items 2000 --features 16 --repeats 1"),
    "commands": ("", "--repeats 1"),
    "explore": ("", "--users 5000 --items 2000 --features 16 --requests 200 --repeats 1"),
    "model": ("", ""),
    "plan": ("", "--ratings 4e6 --users 1e5 --items 1e5 --features 16 --world-size 4"),
    "fits": ("", ""),
    "features": ("", f"{SMALL} --features 16,64 --repeats 1 --epochs 8"),
    "scale": ("--repeats 5", "--ratings 200000 --users 2000 --items 5000 --repeats 1"),
    "preparing": ("", "--ratings 200000 --users 1400 --items 2000 --repeats 1"),
    "tables": ("", "--ratings 200000 --repeats 1"),
    "invariant": ("", "--repeats 1 --no-price"),
    "quality": ("", "--seeds 1 --epochs 500"),
    "curve": ("", "--seeds 1"),
    "gpu": ("", "--quick"),
}
PICTURES = {"curve": "notebook_curve.png", "large": "large.png", "implicit": "clicks_cost.png"}
SHOWN = {  # for those who cannot see them
    "large": "The test RMSE of each library over the seconds of its solver",
    "implicit": "The cost of each library over the seconds of its solver",
}


def run(name: str, options: str, output: Path, data: str) -> str:
    """Run one, and leave its output in NAME.txt and what else it said in NAME.log; returns what failed."""
    command = ["-m", f"benchmarks.{name}", *shlex.split(options)]
    shown = f"python {shlex.join(command)}"
    if name in PICTURES:
        command += ["--picture", str((output / PICTURES[name]).absolute())]
    text, log = output / f"{name}.txt", output / f"{name}.log"
    env = {**os.environ, "COFI_DIST_DATA": data}
    with text.open("w") as out, log.open("w") as err:
        out.write(f"`{shown}`, {date.today()}\n\n")
        out.flush()
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=env, stdout=out, stderr=err, check=False
        )
    said = log.read_text().strip().splitlines()
    return "" if done.returncode == 0 else (said[-1] if said else f"exit code {done.returncode}")


def section(name: str, output: Path) -> str:
    """What NAME.txt says, as Markdown; what has no table is set as it is."""
    head, body = (output / f"{name}.txt").read_text().strip().split("\n\n", 1)
    if "|---" not in body:
        body = "\n".join(f"    {line}".rstrip() for line in body.splitlines())
    picture = f"\n\n![{SHOWN[name]}]({PICTURES[name]})" if name in SHOWN else ""
    return f"{head}\n\n{body}{picture}"


def write(name: str, output: Path, folder: Path) -> str:
    """Put an output between its markers; returns a line on what was done."""
    docs = folder / PAGES.get(name, "benchmarks.md")
    begin, end, whole = f"<!-- begin {name} -->", f"<!-- end {name} -->", docs.read_text()
    if not 0 <= whole.find(begin) < whole.find(end):
        return f"{docs.name} has no markers for {name}"
    before, rest = whole.split(begin, 1)
    after = rest.split(end, 1)[1]
    docs.write_text(f"{before}{begin}\n\n{section(name, output)}\n\n{end}{after}")
    if name in PICTURES:
        shutil.copy(output / PICTURES[name], docs.parent / PICTURES[name])
    return f"{docs.name} has it"


def main() -> None:
    """Each in turn, then what failed and how long all took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help=f"some of {','.join(BENCHMARKS)}")
    parser.add_argument("--output", type=Path, default=Path("benchmarks-results"))
    parser.add_argument("--write-docs", action="store_true")
    args = parser.parse_args()
    if args.quick and args.write_docs:
        parser.error("--quick: its figures are not for the docs")
    default = [name for name in BENCHMARKS if name != "gpu" or torch.cuda.is_available()]
    names = args.only.split(",") if args.only else default
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"--only: no such benchmark: {', '.join(sorted(unknown))}")
    args.output.mkdir(parents=True, exist_ok=True)
    print(f"{date.today()}, {machine()}")
    failures, begun = [], time.monotonic()
    for name in names:
        start = time.monotonic()
        failed = run(name, BENCHMARKS[name][args.quick], args.output, str(Path(args.data).absolute()))
        status = f"failed: {failed}" if failed else str(args.output / f"{name}.txt")
        if args.write_docs and not failed:
            status += f"; {write(name, args.output, DOCS)}"
        print(f"{name:9} {time.monotonic() - start:5.0f} s  {status}", flush=True)
        failures += [name] if failed else []
    print(f"{(time.monotonic() - begun) / 60:.1f} minutes in all;", end=" ")
    print(f"failed: {', '.join(failures)}" if failures else "none failed")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
