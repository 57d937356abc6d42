"""The words of a search's space: read strictly, and every mistake named with its key."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.config import Config, load_config
from cofi_dist.config.strict_yaml import parse
from cofi_dist.errors import ConfigError
from cofi_dist.tuning.space import Choices, Range, check_space, parse_space, words_of

CONFIG = """
data:
  synthetic: {num_users: 30, num_items: 40, num_ratings: 300}
  validation: {}
model: {num_features: 3}
validation: {every: 5}
"""


def test_words_say_what_varies() -> None:
    space = parse_space(
        [
            "train.lambda_=log:1e-1:100",
            "data.damping=uniform:0:5",
            "model.num_features=log-int:8:256",
            "seed=int:1:9",
            "train.optimizer=adam,als",
            "data.validation={fraction: 0.3},{by: leave_one_out}",
        ]
    )
    assert space == [
        Range("train.lambda_", 0.1, 100.0, is_log=True),
        Range("data.damping", 0.0, 5.0, is_log=False),
        Range("model.num_features", 8, 256, is_log=True),
        Range("seed", 1, 9, is_log=False),
        Choices("train.optimizer", ["adam", "als"]),
        Choices("data.validation", ["{fraction: 0.3}", "{by: leave_one_out}"]),
    ]
    assert [str(axis) for axis in space if isinstance(axis, Range) and axis.is_whole] == [
        "model.num_features=log-int:8:256",
        "seed=int:1:9",
    ]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("train.lr", "write KEY=V1,V2"),
        ("=1,2", "write KEY=V1,V2"),
        ("train.lr=lgo:0.1:1", "there is no range lgo; write uniform, log, int or log-int"),
        ("train.lr=", "write KEY=V1,V2"),
        ("train.lr=log:1", "write two bounds, as in log:LOW:HIGH"),
        ("train.lr=log:1:2:3", "write two bounds"),
        ("train.lr=log:0:1", r"0\.0 has no logarithm"),
        ("train.lr=log-int:0:9", "0 has no logarithm"),
        ("train.lr=uniform:2:1", r"2\.0 is not below 1\.0"),
        ("train.lr=uniform:1:1", "is not below"),
        ("train.lr=uniform:a:1", "the bound 'a' is not a finite number"),
        ("train.lr=uniform:true:2", "the bound 'true' is not a finite number"),
        ("train.lr=uniform:-.inf:2", "is not a finite number"),
        ("train.lr=uniform:.nan:2", "is not a finite number"),
        ("train.lr=uniform::2", "the bound '' is not a finite number"),
        ("train.lr=uniform:1:1e305", r"beyond 1e\+300"),
        ("seed=int:1:2.5", r"the bound '2\.5' is not a whole number"),
        ("seed=int:1:99999999999999999999", r"beyond 9e\+15"),
        ("seed=int:01:2", "octal"),
        ("seed=1,2,1", "1 is given twice"),
        ("seed=[1", "not YAML"),
    ],
)
def test_a_wrong_word_is_one_line_that_names_it(word: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"^--space '{re.escape(word)}': .*{says}"):
        parse_space([word])


@given(st.text(max_size=30), st.sampled_from(["", "log:", "int:", "uniform:", "log-int:", "1,", "log:1:"]))
def test_any_text_is_a_space_or_a_mistake_that_is_told(text: str, start: str) -> None:
    try:
        (axis,) = parse_space([f"train.lr={start}{text}"])
    except ConfigError as error:
        assert str(error).startswith("--space ")
        assert "\n" not in str(error)
        return
    assert axis.key == "train.lr"
    assert axis.corners
    for corner in axis.corners:
        parse(corner)
    assert parse_space([str(axis)]) == [axis], "what is recorded of a space is the space"


@given(
    st.floats(1e-300, 1e299),
    st.floats(1e-300, 1e299),
    st.sampled_from(["log", "uniform"]),
)
def test_bounds_are_taken_exactly(one: float, other: float, kind: str) -> None:
    low, high = sorted((one, other))
    if low < high:
        assert parse_space([f"a={kind}:{low!r}:{high!r}"]) == [Range("a", low, high, kind == "log")]


VALUES = st.one_of(
    st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.booleans(), st.text(max_size=8)
)


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_a_list_in_python_is_the_list_of_the_command(values: list[Any]) -> None:
    try:
        (axis,) = parse_space(words_of({"key": values}))
    except ConfigError as error:
        if "given twice" not in str(error):
            assert re.match(r"(uniform|log|int|log-int):", str(values[0])), error
        return
    if isinstance(axis, Choices):
        assert [parse(text) for text in axis.corners] == values


def test_a_space_in_python_is_words_or_lists() -> None:
    assert words_of({"a": "log:1:2", "b": [16, 32], "c": ("x", "y, z")}) == [
        "a=log:1:2",
        "b=16, 32",
        "c=x, 'y, z'",
    ]
    with pytest.raises(ConfigError, match=r"^space: a: must be a list of values, or a range"):
        words_of({"a": 3})
    with pytest.raises(ConfigError, match=r"^space: 3 is no key"):
        words_of({3: [1]})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("words", "overrides", "says"),
    [
        ([], [], "--space: nothing varies"),
        (["train.lambda_=uniform:-1:1"], [], r"train\.lambda_: input should be greater than or equal to 0"),
        (["model.num_features=uniform:2:8"], [], r"model\.num_features: must be a whole number"),
        (["train.lambda=1,2"], [], r"train\.lambda: unknown key"),
        (["train.lr=1,2", "train.lr=log:1:2"], [], r"--space train\.lr: is given twice"),
        (["run_dir=a,b"], [], "--space run_dir: is given twice, or is not to be varied"),
        (["seed=1,2"], ["run_dir=a"], "run_dir: tune puts each run into a folder of its own"),
        (["seed=1,2"], ["seed=3"], "seed: is set and varied by --space too"),
        (["seed=1,2"], ["validation.every=null"], r"validation\.every: tune compares by validation RMSE"),
        (["validation.metric=rmse,ndcg"], [], "tune compares by one figure, but point 0 is judged by RMSE"),
        (["seed=1,2"], ["checkpoint.resume=runs/x"], r"checkpoint\.resume: each trial goes on with itself"),
        (
            ["train.optimizer=adam,als", "train.reduction=fast,invariant", "model.num_features=0,4"],
            [],
            r"model\.num_features: input should be greater than or equal to 1",
        ),
    ],
)
def test_a_space_of_which_a_corner_is_no_config_is_refused(
    words: list[str], overrides: list[str], says: str, tmp_path: Path
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(CONFIG)

    def configure(settings: Sequence[str]) -> Config:
        return load_config(file, [*overrides, *settings])

    with pytest.raises(ConfigError, match=says):
        check_space(parse_space(words), configure, overrides, str(file))
