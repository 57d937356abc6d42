"""Give examples of every command, which its help shows."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "quickstart": (
        "cofi-dist quickstart",
        "cofi-dist quickstart train.epochs=20 run_dir=runs/tried",
    ),
    "train": (
        "cofi-dist train --config mine.yaml",
        "cofi-dist train --config mine.yaml train.epochs=300 run_dir=runs/long",
        "torchrun --nproc-per-node=2 -m cofi_dist train --config mine.yaml",
    ),
    "update": (
        "cofi-dist update runs/mine --ratings new.csv --output runs/today",
        "cofi-dist update runs/mine --ratings 'new/*.csv' --output runs/week",
    ),
    "tune": (
        "cofi-dist tune --config mine.yaml --grid train.lambda_=1,3,10",
        "cofi-dist tune --config mine.yaml --grid train.lambda_=1,3,10 --table",
        "cofi-dist tune --config mine.yaml --space train.lambda_=log:1:100 --trials 40",
    ),
    "prepare": (
        "cofi-dist prepare ratings.csv --output ready",
        "cofi-dist prepare ratings.csv --output held 'data.test={by: last, n: 1}'",
        "cofi-dist prepare 'logs/*.csv' --output logs-ready data.duplicates=last",
    ),
    "config": (
        "cofi-dist config mine.yaml",
        "cofi-dist config mine.yaml train.optimizer=als > resolved.yaml",
    ),
    "warm-up": (
        "cofi-dist warm-up",
        "cofi-dist warm-up --features 32 --features 64",
    ),
    "evaluate": (
        "cofi-dist evaluate runs/mine",
        "cofi-dist evaluate runs/mine -k 20 --relevant 4 --output runs/mine/at20.json",
        "cofi-dist evaluate runs/mine --ratings later.csv",
    ),
    "predict": (
        "cofi-dist predict runs/mine --pairs pairs.csv --output predictions.csv",
        "cofi-dist predict runs/mine --pairs pairs.csv --output predictions.parquet",
    ),
    "recommend": (
        "cofi-dist recommend runs/mine --user 42 --titles titles.csv",
        "cofi-dist recommend runs/mine --ratings my-ratings.csv -k 5 --min-ratings 2",
        "cofi-dist recommend runs/mine --all -k 20 --output lists.parquet",
    ),
    "explain": (
        "cofi-dist explain runs/mine --user 42 --item 7",
        "cofi-dist explain runs/mine --user 42 --item 7 -k 3 --titles titles.csv",
    ),
    "similar": (
        "cofi-dist similar runs/mine --item 7 --titles titles.csv",
        "cofi-dist similar runs/mine --item 7 -k 5 --min-ratings 2",
        "cofi-dist similar runs/mine --user 42",
    ),
    "explore": (
        "cofi-dist explore runs/mine --titles titles.csv",
        "cofi-dist explore runs/mine runs/other --port 0",
    ),
    "export": (
        "cofi-dist export runs/mine --output factors",
        "cofi-dist export runs/mine --format parquet --output tables",
    ),
    "plot": (
        "cofi-dist plot runs/mine",
        "cofi-dist plot runs/mine runs/long --output both.png",
    ),
    "report": (
        "cofi-dist report runs/mine",
        "cofi-dist report runs/mine --titles titles.csv -k 20 --output mine.html",
    ),
    "checkpoints": (
        "cofi-dist checkpoints runs/mine",
        "cofi-dist checkpoints runs/mine | grep broken",
    ),
    "compare": (
        "cofi-dist compare runs/mine runs/long",
        "cofi-dist compare runs/mine runs/long > differences.txt",
    ),
    "slurm": (
        "cofi-dist slurm --config mine.yaml --nodes 2 --gpus-per-node 4",
        "cofi-dist slurm --config mine.yaml --requeue --output mine-requeued.sbatch",
        "cofi-dist slurm --config mine.yaml --check mine-requeued.sbatch",
    ),
    "data list": (
        "cofi-dist data list",
        "cofi-dist data list --root /shared/data",
    ),
    "data get": (
        "cofi-dist data get ml-latest-small",
        "cofi-dist data get ml-1m --root /shared/data",
    ),
}
