"""The five solvers that benchmarks.large compares, each a function of the same problem.

    python -m benchmarks.peers NAME SETTINGS.json RESULT.json     # what benchmarks.large starts

Each gives a Result; how they are timed and judged is in benchmarks.contest.
"""

import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from unittest import mock

import numpy as np
import torch

import cofi_dist
from benchmarks.contest import CPU, Point, Problem, Result, Settings, Watch
from cofi_dist.config import TrainSection
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import SparseCost, build_rating_matrix
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.factors import Factors
from cofi_dist.kernels.cpu import schedule
from cofi_dist.optim.als import Als
from cofi_dist.optim.base import run_step
from cofi_dist.optim.whole_items import WholeItems
from cofi_dist.run.log import NullLog
from cofi_dist.training.build import build_adam
from cofi_dist.training.trainer import Trainer

LIBMF_LAMBDA, LIBMF_ETA, LIBMF_BINS = 0.1, 0.1, 20  # defaults of its command line
SPARK_LAMBDA = 0.1  # its default


def tiny(settings: Settings) -> Problem:
    """For what is only done once in a process."""
    return Problem(Settings(**(asdict(settings) | {"users": 50, "items": 40, "ratings": 500, "points": [1]})))


def als(problem: Problem) -> Result:
    """Ours, the class itself; its loops are loaded or compiled on a small problem before."""
    s = problem.settings
    if s.users > 50:
        for tile in (schedule.TILE_RATINGS, 100):  # items in one tile and in several
            with mock.patch.object(schedule, "TILE_RATINGS", tile):
                als(tiny(s))
    start = time.perf_counter()
    factors, cost = problem.start(), build_rating_matrix(problem.shard, CPU, torch.float32)
    counts = torch.from_numpy(problem.sums.count)
    halves = WholeItems.build(
        cost, factors, Regulariser(s.lambda_), item_counts=counts, steps=3, owns_all_users=True
    )
    solver = Als(halves, tolerance=0.0)
    set_up = time.perf_counter() - start
    points, seconds = [], 0.0
    for sweep in range(1, max(s.points) + 1):
        start = time.perf_counter()
        run_step(solver.prepare_step(), SoloComm())
        seconds += time.perf_counter() - start
        if sweep in s.points:
            points.append(Point(sweep, seconds, problem.rmse(factors), solver.J))
    return Result(cofi_dist.__version__, set_up, seconds / max(s.points), problem.best_rmse, points)


def adam(problem: Problem) -> Result:
    """Ours, by the trainer; a sweep is an epoch."""
    s, ratings, epochs = problem.settings, len(problem.shard.ratings), max(problem.settings.points)
    if s.users > 50:
        adam(tiny(s))
    start = time.perf_counter()
    cost = SparseCost(build_rating_matrix(problem.shard, CPU, torch.float32))
    set_up, watch = time.perf_counter() - start, Watch(problem)
    train = TrainSection(epochs=epochs, lr=s.lr, lambda_=s.lambda_, log_every=10**9)
    factors = problem.start()
    comm = SoloComm()
    Trainer(
        factors=factors,
        optimizer=build_adam(cost, factors, Regulariser(s.lambda_), train, is_alone=True),
        settings=train,
        num_ratings=ratings,
        comm=comm,
        reducer=comm,
    ).run(NullLog(), watch)
    sweep = watch.points[-1].seconds / epochs
    return Result(cofi_dist.__version__, set_up, sweep, problem.best_rmse, watch.points)


def cmfrec(problem: Problem) -> Result:
    """Three steps of conjugate gradients, as ours; its objective is twice J."""
    from benchmarks.cmf import fit

    s = problem.settings

    def solve(sweeps: int) -> tuple[float, Factors]:
        given = {"seed": s.seed, "threads": s.threads, "cg": True}
        return fit(problem.shard, s.features, s.lambda_, sweeps, **given)  # type: ignore[arg-type]

    return problem.anew(solve, "cmfrec", is_ours=True)


def libmf(problem: Problem) -> Result:
    """Stochastic gradients; a sweep is a pass over all ratings."""
    from libmf import mf

    s, ratings = problem.settings, problem.shard.ratings
    table = np.column_stack([ratings.user, ratings.item, ratings.value]).astype(np.float32)
    given = {"k": s.features, "nr_threads": s.threads, "nr_bins": LIBMF_BINS, "eta": LIBMF_ETA, "quiet": True}
    # 1 is the sum of absolute values, 2 that of squares; the package has their defaults the wrong way round
    lambdas = {"lambda_p1": 0.0, "lambda_q1": 0.0, "lambda_p2": LIBMF_LAMBDA, "lambda_q2": LIBMF_LAMBDA}

    def solve(sweeps: int) -> tuple[float, Factors]:
        engine = mf.MF(**given, **lambdas, nr_iters=sweeps)
        start = time.perf_counter()
        engine.fit(table)
        took = time.perf_counter() - start
        X, W, b = problem.zeros()
        # rows without ratings are nan there, and predicted as the mean, which is 0 here
        for whole, theirs in ((W, engine.p_factors()), (X, engine.q_factors())):
            whole[: len(theirs)] = torch.from_numpy(np.nan_to_num(theirs))
        return took, Factors(X, W, b)

    return problem.anew(solve, "libmf", is_ours=False)


def spark(problem: Problem) -> Result:
    """Alternating least squares, solved by Cholesky."""
    import polars as pl
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import SparkSession

    s, ratings = problem.settings, problem.shard.ratings
    builder = SparkSession.builder.master(f"local[{s.threads}]").config("spark.driver.memory", s.spark_memory)
    for key in ("spark.ui.enabled", "spark.ui.showConsoleProgress"):
        builder = builder.config(key, "false")
    session = builder.config("spark.log.level", "ERROR").getOrCreate()
    with tempfile.TemporaryDirectory() as folder:
        columns = {"user": ratings.user, "item": ratings.item, "rating": ratings.value.astype(np.float32)}
        pl.DataFrame(columns).write_parquet(f"{folder}/ratings.parquet")
        table = session.read.parquet(f"{folder}/ratings.parquet").repartition(s.threads).cache()
        table.count()

        def solve(sweeps: int) -> tuple[float, Factors]:
            solver = ALS(rank=s.features, maxIter=sweeps, regParam=SPARK_LAMBDA, seed=s.seed)
            solver = solver.setUserCol("user").setItemCol("item").setRatingCol("rating")
            solver = solver.setNumBlocks(s.threads)
            start = time.perf_counter()
            model = solver.fit(table)
            took = time.perf_counter() - start
            X, W, b = problem.zeros()
            for whole, theirs in ((W, model.userFactors), (X, model.itemFactors)):
                theirs.write.mode("overwrite").parquet(f"{folder}/factors.parquet")
                found = pl.read_parquet(f"{folder}/factors.parquet/*.parquet")
                whole[found["id"].to_list()] = torch.tensor(found["features"].to_list())
            return took, Factors(X, W, b)

        result = problem.anew(solve, "pyspark", is_ours=False)
    session.stop()
    return result


SOLVERS = {"als": als, "adam": adam, "cmfrec": cmfrec, "libmf": libmf, "spark": spark}


def main() -> None:
    """One solver, in this process."""
    name, given, result = sys.argv[1:]
    settings = Settings(**json.loads(Path(given).read_text()))
    torch.set_num_threads(settings.threads)
    Path(result).write_text(json.dumps(asdict(SOLVERS[name](Problem(settings)))))


if __name__ == "__main__":
    main()
