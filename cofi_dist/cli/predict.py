"""Define the command `predict`, which predicts ratings, or scores pairs of a model of events."""

from pathlib import Path
from typing import Annotated

import typer

from cofi_dist.cli.arguments import Run
from cofi_dist.cli.input_files import read_ratings
from cofi_dist.cli.output_tables import Replace, id_column_names, require_writable, write_table
from cofi_dist.cli.progress import Progress
from cofi_dist.cli.tables import say_if_scores, warn_if_diverged
from cofi_dist.streams import log_stderr
from cofi_dist.words import counted


def predict(
    run: Run,
    pairs: Annotated[
        Path, typer.Option(help="File of pairs: one user and item per line.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option(help=".csv or .parquet file for the predictions.", show_default=False)
    ],
    replace: Replace = False,
) -> None:
    """Predict the rating of each pair of a file.

    With a model of events, score each pair.
    """
    import polars as pl

    from cofi_dist.model import Model
    from cofi_dist.model.predict import predict_pairs
    from cofi_dist.model.scoring import has_training_ratings

    require_writable(output, replace=replace)
    model = Model.load(run)
    warn_if_diverged(model)
    columns, feedback = model.facts.columns, model.facts.feedback
    result, verb = ("score", "scored") if model.facts.is_implicit else ("prediction", "predicted")
    table = read_ratings(pairs, columns, feedback, rating=False)
    counts_of = model.arrays.user_counts, model.arrays.item_counts
    sides = zip(("user", "item"), (model.users, model.items), counts_of, strict=True)
    rows = []
    for (name, ids, counts), instead in zip(sides, model.fallbacks, strict=True):
        rows.append(ids.find(table[name]))
        unseen = table[name].filter(pl.Series(~has_training_ratings(counts, rows[-1])))
        if len(unseen):
            count = f"{len(unseen):,} of {counted(len(table), 'pair')}"
            who = counted(unseen.n_unique(), name)
            log_stderr(f"{count} are of {who} without training {model.facts.noun}s: {verb} {instead}")
    with Progress("predicting", "pairs") as progress:
        results = predict_pairs(model.scorer, rows[0], rows[1], progress.add)
    user, item = id_column_names(columns, (result,))
    pairs_of = table.select(pl.col("user").alias(user), pl.col("item").alias(item))
    write_table(pairs_of.with_columns(pl.Series(result, results)).lazy(), output)
    log_stderr(f"{counted(len(table), result)} written to {output}")
    say_if_scores(model)
