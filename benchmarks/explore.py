"""The page of `cofi-dist explore` under load: how long a list takes that follows a rating.

    python -m benchmarks.explore

The command serves a model of made-up factors, a process of its own. A client on the loopback, another
process, has so many connections, and asks the next question on each as soon as the answer is there. Every
question of `recommend` and `explain` has other ratings.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl

from benchmarks.machine import machine, spread
from cofi_dist.config import ColumnNames, load_config
from cofi_dist.data.ids import IdMap
from cofi_dist.model import Model, TrainingDataFacts
from cofi_dist.model.arrays import ModelArrays

NUM_RATED = 5


def make_model(users: int, items: int, features: int, folder: Path) -> None:
    """Save a model of normal factors, with titles of a few words."""
    rng = np.random.default_rng(0)

    def drawn(rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return rng.normal(0, features**-0.5, (rows, features)).astype(np.float32)

    (folder / "config.yaml").write_text("data: {ratings: r.csv}\nmodel: {item_bias: true}\n")
    Model(
        arrays=ModelArrays(
            X=drawn(items),
            W=drawn(users),
            b=np.zeros((1, users), np.float32),
            c=np.zeros((1, items), np.float32),
            item_means=rng.uniform(2, 4.5, items),
            item_counts=rng.integers(1, 500, items).astype(np.float64),
            user_counts=rng.integers(1, 500, users).astype(np.float64),
        ),
        facts=TrainingDataFacts(3.5, 0.5, 5.0, "made up", ColumnNames()),
        users=IdMap.row_numbers(users),
        items=IdMap.row_numbers(items),
        config=load_config(folder / "config.yaml", ()),
    ).save(folder / "model")
    words = np.array(["red", "green", "old", "long", "river", "house", "train", "letter", "night", "sea"])
    titles = [" ".join(words[rng.integers(0, 10, 3)]) + f" {item}" for item in range(items)]
    pl.DataFrame({"movieId": range(items), "title": titles}).write_csv(folder / "titles.csv")


def questions(items: int) -> dict[str, Callable[[int], tuple[str, str]]]:
    """Return of each kind the n-th question: its address, and its body if it has one."""

    def ratings(n: int) -> list[dict[str, object]]:
        rng = np.random.default_rng(n)
        rated = rng.choice(items, NUM_RATED, replace=False)
        return [{"item": str(item), "value": float(rng.integers(1, 11) / 2)} for item in rated]

    return {
        "recommend": lambda n: ("recommend", json.dumps({"ratings": ratings(n), "min_ratings": 5})),
        "explain": lambda n: ("explain", json.dumps({"ratings": ratings(n), "item": str(n % items)})),
        "similar": lambda n: (f"similar?item={n % items}", ""),
        "map": lambda n: (f"map?item={n % items}", ""),
        "search": lambda n: (f"search?q=red%20{n % 100}", ""),
    }


def request(path: str, body: str) -> bytes:
    """Return the bytes of a request that leaves the connection open."""
    head = f"{'POST' if body else 'GET'} /api/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{head}{content}\r\n{body}".encode()


async def load(port: int, requests: list[bytes], connections: int) -> list[float]:
    """Return the seconds that each answer took."""
    waiting, seconds = iter(requests), []

    async def ask_on_one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for sent in waiting:
            begun = time.perf_counter()
            writer.write(sent)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
            seconds.append(time.perf_counter() - begun)
            assert head.startswith("http/1.1 200 "), head
        writer.close()

    await asyncio.gather(*(ask_on_one() for _ in range(connections)))
    return seconds


def main() -> None:
    """One table: p50 and p99 of each kind of question."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=70_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--kinds", default="recommend,explain,similar,map,search", help="of questions")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(args.users, args.items, args.features, folder)
        command = [sys.executable, "-m", "cofi_dist", "explore", str(folder / "model"), "--port", "0"]
        command += ["--titles", str(folder / "titles.csv")]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline().strip().strip("/").rpartition(":")[2])
            measure(port, args)
            server.terminate()


def measure(port: int, args: argparse.Namespace) -> None:
    """Ask each kind of question, one at a time and many at once, and print what it took."""
    size = f"{args.users:,} users x {args.items:,} items x {args.features} features"
    print(f"{machine()}; {size}; {args.requests:,} requests; medians of {args.repeats} (lowest to highest)\n")
    print("| question | at once | p50, ms | p99, ms | answers a second |\n|---|---|---|---|---|")
    asked_of = questions(args.items)
    for kind in args.kinds.split(","):
        question = asked_of[kind]
        for at_once in (1, args.at_once):
            found = []
            for repeat in range(args.repeats + 1):
                count = args.requests if repeat else min(200, args.requests)  # the first is to warm up
                asked = [request(*question(n + repeat * args.requests)) for n in range(count)]
                begun = time.perf_counter()
                seconds = asyncio.run(load(port, asked, at_once))
                rate = len(seconds) / (time.perf_counter() - begun)
                p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
                found.append((float(p50), float(p99), rate))
            p50s, p99s, rates = zip(*found[1:], strict=True)
            print(
                f"| {kind} | {at_once} | {spread(p50s, 1)} | {spread(p99s, 1)} | {median(rates):.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
