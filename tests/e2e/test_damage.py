"""Files that are damaged or made to harm: each command ends in one line, or goes on, and soon."""

import random

import pytest

from tools.damage.tries import Try, Worlds, all_tries, attempt_at, build_twice

SLOW = ("report", "plot", "tune")  # which draw or train whatever else happens
SAMPLED = 70
SECONDS = 10.0  # of the processor, ten times what a refusal takes
MEGABYTES = 300.0
ALWAYS = (
    "run/model/factors.safetensors a pipe: recommend",
    "run/model/factors.safetensors X of no dimension: recommend",
    "run/model/factors.safetensors c of three dimensions: similar",
    "run/model/factors.safetensors item_means bfloat16: predict",
    "run/model/factors.safetensors W complex: compare",
    "run/model/factors.safetensors b NaN throughout: recommend",
    "run/model/factors.safetensors metadata lowest None: predict",
    "run/model/factors.safetensors metadata columns nested: similar",
    "run/model/factors.safetensors header says of 10^12 rows: compare",
    "parted/model/parts.json a pipe: recommend",
    "parted/model/parts.json parts.0.ranges.0.0 3: recommend",
    "parted/model/parts.json parts.0.sums '': evaluate",
    "parted/model/parts.json facts.lowest 'x': predict",
    "parted/model/users-00000.safetensors missing: similar",
    "parted/model/users-00000.safetensors W one NaN: recommend",
    "parted/model/users-00000.safetensors W transposed: compare",
    "parted/model/items-00000.safetensors X fractions: update",
    "parted/model/items-00000.safetensors flipped 1: export",
    "run/model/users.parquet of lists: recommend",
    "run/model/items.parquet of categories: similar",
    "run/model/items.parquet of ten million equal rows: predict",
    "ready/manifest.json num_items 1000000000000: train",
    "ready/manifest.json num_users -1: train",
    "ready/train_item.npy the largest: train",
    "ready/train_item.npy negative: train",
    "ready/train_item.npy of objects: train",
    "ready/train_user_start.npy descending: train",
    "ready/train_user_start.npy a spike within: train",
    "ready/train_value.npy one NaN: train",
    "ready/train_value.npy a device: train",
    "ready/item_count.npy header says of 10^12: train",
    "run/result.json seconds None: plot",
    "run/metrics.jsonl cost 'x': compare",
    "run/metrics.jsonl a long line: compare",
    "run/shards.json ranks []: plot",
    "grid/000/result.json epoch 'x': tune",
)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    return build_twice(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def everything(worlds: Worlds) -> list[Try]:
    return all_tries(worlds)


@pytest.mark.timeout(300)
def test_what_was_damaged_is_refused(worlds: Worlds, everything: list[Try]) -> None:
    """By every one of these; of the others some are harmless."""
    for start in ALWAYS:
        tried = next(each for each in everything if each.name.startswith(start))
        outcome = attempt_at(worlds, tried)
        assert (outcome.bad, outcome.how) == ("", "refused"), tried.name
        assert tried.file.split("/")[0] in outcome.said, tried.name


@pytest.mark.timeout(300)
def test_no_harm_ends_in_anything_but_one_line(worlds: Worlds, everything: list[Try]) -> None:
    quick = [each for each in everything if each.command[0] not in SLOW]
    wrong: list[str] = []
    for tried in random.Random(14).sample(quick, SAMPLED):
        outcome = attempt_at(worlds, tried)
        if outcome.bad:
            wrong.append(f"{tried.name}: {outcome.bad}")
        if outcome.said and (outcome.seconds > SECONDS or outcome.megabytes > MEGABYTES):
            wrong.append(f"{tried.name}: {outcome.seconds:.1f} s, {outcome.megabytes:.0f} MB")
    assert not wrong, "\n".join(wrong)


def test_there_are_thousands_of_tries(everything: list[Try]) -> None:
    assert len({each.name for each in everything}) > 5000
