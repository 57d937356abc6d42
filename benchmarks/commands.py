"""How long short commands take, as whole processes, beside `python -c pass`.

    COFI_DIST_DATA=FOLDER python -m benchmarks.commands [--repeats 9] [--package FOLDER]

Commands that compute nothing, and those on a model of ml-latest-small, which is trained first. Each is run
once to warm the cache of the file system, and then in turn with all others. `--package` is a working tree of
another version, whose commands are timed instead.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.machine import machine

ROOT = Path(__file__).parents[1]
MAIN = "from cofi_dist.cli.main import main; main()"  # as the installed command does


def commands(run: Path, pairs: Path) -> dict[str, list[str]]:
    """The words of each command, by its name in the table."""
    predict = ["predict", str(run), "--pairs", str(pairs), "--output", str(pairs.with_suffix(".out.csv"))]
    return {
        "--help": ["--help"],
        "config FILE": ["config", str(ROOT / "configs/ml-latest-small.yaml")],
        "data list": ["data", "list"],
        "checkpoints RUN": ["checkpoints", str(run)],
        "similar RUN --item ID": ["similar", str(run), "--item", "1"],
        "recommend RUN --user ID": ["recommend", str(run), "--user", "1"],
        "predict RUN": [*predict, "--replace"],
        "evaluate RUN": ["evaluate", str(run)],
    }


def seconds(words: list[str], package: Path) -> float:
    """How long a process takes."""
    before = time.perf_counter()
    subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        check=True,
    )
    return time.perf_counter() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--package", type=Path, default=ROOT)
    given = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        run, pairs = Path(folder) / "run", Path(folder) / "pairs.csv"
        pairs.write_text("userId,movieId\n1,1\n2,1\n3,50\n")
        config, ratings = Path(folder) / "c.yaml", Path(os.environ["COFI_DIST_DATA"]) / "ml-latest-small"
        config.write_text(f"data: {{ratings: {ratings / 'ratings.csv'}, test: {{}}}}\nrun_dir: {run}\n")
        seconds(["-c", MAIN, "train", "--config", str(config), "train.optimizer=als"], given.package)
        timed = {"python -c pass": ["-c", "pass"]}
        timed |= {name: ["-c", MAIN, *words] for name, words in commands(run, pairs).items()}
        took: dict[str, list[float]] = {name: [] for name in timed}
        for repeat in range(given.repeats + 1):
            for name, words in timed.items():
                once = seconds(words, given.package)
                if repeat:
                    took[name].append(once)
    least = median(took["python -c pass"])
    for name, all_of in took.items():
        print(f"{name:<24} {median(all_of):6.3f} s {median(all_of) / least:6.1f} times python -c pass")


if __name__ == "__main__":
    main()
