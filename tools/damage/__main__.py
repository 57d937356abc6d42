"""Every harm to every file, each with the commands that read it.

`python -m tools.damage [SHARE [SEED [WORDS]]]` takes that share of the tries whose names hold WORDS.
"""

import collections
import random
import sys
import tempfile
import time
from pathlib import Path

import torch

from tools.damage.tries import all_tries, attempt_at, build_twice

SECONDS, MEGABYTES = 1.5, 100.0  # of a refusal


def main() -> None:
    share, seed = float((sys.argv[1:] or ["1"])[0]), int((sys.argv[2:] or ["0"])[0])
    words = sys.argv[3] if len(sys.argv) > 3 else ""
    torch.set_num_threads(1)
    rng, counts = random.Random(seed), collections.Counter[str]()
    started = time.time()
    with tempfile.TemporaryDirectory() as folder:
        worlds = build_twice(Path(folder))
        everything = all_tries(worlds)
        picked = [each for each in everything if words in each.name and rng.random() < share]
        print(f"{len(picked)} of {len(everything)} tries", flush=True)
        for number, each in enumerate(picked):
            outcome = attempt_at(worlds, each)
            bad = outcome.bad
            if outcome.said and outcome.seconds > SECONDS:
                bad = bad or f"takes {outcome.seconds:.1f} s"
            if outcome.said and outcome.megabytes > MEGABYTES and number > 100:
                bad = bad or f"takes {outcome.megabytes:.0f} MB"
            how = "BAD" if bad else outcome.how
            counts[how] += 1
            print(f"{how} | {each.name} | {bad or outcome.said}", flush=True)
    print(dict(counts), f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
