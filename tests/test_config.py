"""Configs: every mistake gives one line that names the file and the key."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.config import Config, load_config
from cofi_dist.errors import ConfigError

GOOD = "data: {ratings: r.csv}\n"


def load(tmp_path: Path, text: str, *overrides: str) -> Config:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    return load_config(file, overrides)


def test_defaults_are_the_notebooks_but_for_the_cost(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    assert config.model.num_features == 100
    assert config.run_dir == "runs/c"
    assert config.train.model_dump() == {
        "epochs": 15_000,
        "lr": 1e-4,
        "lambda_": 1.0,
        "lambda_power": 0.0,
        "lambda_b": 0.0,
        "optimizer": "adam",
        "solver": "cg",
        "cg_steps": 3,
        "tolerance": None,
        "cost": "sparse",
        "dtype": "float32",
        "reduction": "fast",
        "blocks": None,
        "log_every": 100,
        "tensorboard": False,
        "deadline": None,
        "timeout": 600.0,
    }


def test_als_has_defaults_of_its_own_and_a_saved_config_keeps_what_it_says(tmp_path: Path) -> None:
    def of(*overrides: str) -> tuple[int, float | None, int]:
        train = load(tmp_path, f"{GOOD}train: {{optimizer: als}}\n", *overrides).train
        return train.epochs, train.tolerance, train.log_every

    assert of() == (100, 1e-5, 10)
    assert of("train.tolerance=1.0e-7") == (100, 1e-7, 10)
    assert of("train.epochs=500") == (500, None, 10), "so many were asked for"
    assert of("train.epochs=500", "train.tolerance=0.1") == (500, 0.1, 10)
    before = load(tmp_path, f"{GOOD}train: {{optimizer: als, epochs: 15000, log_every: 100}}\n")
    assert (before.train.epochs, before.train.tolerance, before.train.log_every) == (15_000, None, 100)
    for config in (load(tmp_path, f"{GOOD}train: {{optimizer: als}}\n"), before):
        assert load(tmp_path, config.to_yaml()) == config


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: {ratings: r.csv}\ntrain: {epoch: 3}\n", "train.epoch: unknown key; there are epochs, lr,"),
        ("data: {ratings: r.csv}\nfoo: 1\n", "foo: unknown key; there are seed, device, run_dir,"),
        ("data: {synthetic: {x: 1}}\n", "data.synthetic.x: unknown key; there are num_users,"),
        ("data: {ratings: r.csv, columns: {x: a}}\n", "data.columns.x: unknown key; there are user, item"),
        ("data: {ratings: r.csv}\ntrain: {lr: nan}\n", "train.lr: input should be a valid number, not 'nan'"),
        ("data: {ratings: r.csv}\ntrain: {epochs: many}\n", "train.epochs: input should be a valid integer"),
        ("data: {ratings: r.csv}\ntrain: {epochs: 2.5}\n", "train.epochs:"),
        ("data: {ratings: r.csv}\ntrain: {epochs: true}\n", "train.epochs:"),
        ("data: {ratings: r.csv}\ntrain: {lr: 1e-4}\n", "train.lr: '1e-4' is text in YAML 1.1; write 0.0001"),
        (
            "data: {ratings: r.csv}\ntrain: {epochs: 1e3}\n",
            "train.epochs: '1e3' is text in YAML 1.1; write 1000",
        ),
        ("data: {ratings: r.csv}\ntrain: {lr: -1.0}\n", "train.lr: input should be greater than 0, not -1.0"),
        ("data: {ratings: r.csv}\ntrain: {lr: .inf}\n", "train.lr:"),
        ("data: {ratings: r.csv}\ntrain: {lambda_: -1}\n", "train.lambda_:"),
        (
            "data: {ratings: r.csv}\ntrain: {cost: denser}\n",
            "train.cost: input should be 'sparse' or 'dense'",
        ),
        ("data: {ratings: r.csv}\nseed: -1\n", "seed:"),
        ("data: {ratings: r.csv}\ndevice: tpu\n", "device:"),
        ("data: {ratings: r.csv}\ntrain: 3\n", "train:"),
        ("data: {ratings: r.csv}\nseed: 1\nseed: 2\n", "line 3: seed: given twice"),
        ("data: {ratings: r.csv, ratings: s.csv}\n", "line 1: ratings: given twice"),
        ("data: {ratings: r.csv}\n1: 2\n", "line 2: a key must be text, not 1"),
        ("data: {ratings: r.csv\n", "not YAML"),
        ("- 1\n", "must hold `key: value` lines, not a list"),
        ("seed: 1\n", "data: is missing"),
        ("data: {}\n", "data: set exactly one of ratings, name, prepared, y with r, synthetic; found none"),
        ("data: {ratings: r.csv, synthetic: {}}\n", "found ratings and synthetic"),
        ("data: {y: Y.npy}\n", "data: the arrays come as a pair; set data.r too"),
        ("data: {y: Y.npy, r: R.npy, centre: item_mean}\n", "data: the arrays y and r are taken as they are"),
        ("data: {synthetic: {num_users: 0}}\n", "data.synthetic.num_users:"),
        ("data: {ratings: r.csv}\nseed: !!python/object:os.system {}\n", "not YAML"),
        ("a: &a [*a]\n", "a: unknown key"),
        ("a: &a {b: *a}\n", "an alias refers to what it stands in"),
        ("date: {ratings: r.csv}\n", "date: unknown key"),
    ],
)
def test_a_mistake_is_one_line_naming_file_and_key(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'c.yaml'}: ")
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.epochs", "an override is KEY=VALUE"),
        ("=3", "an override is KEY=VALUE"),
        ("train..epochs=3", "an override is KEY=VALUE"),
        ("seed.x=3", "seed is 1, not a section"),
        ("train.lr=1e-4", "c.yaml (override): train.lr: '1e-4' is text in YAML 1.1; write 0.0001"),
        ("train.nope=1", "c.yaml (override): train.nope: unknown key; there are epochs, lr, lambda_,"),
        (
            "train.epochs=0",
            "c.yaml (override): train.epochs: input should be greater than or equal to 1, not 0",
        ),
        ("train.epochs=[", "override 'train.epochs=[': "),
    ],
)
def test_a_wrong_override_names_itself(override: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"{GOOD}seed: 1\n", override)
    assert says in str(caught.value)


def test_overrides_set_and_null_unsets(tmp_path: Path) -> None:
    text = f"{GOOD}train: {{epochs: 7, lr: 0.5}}\n"
    config = load(
        tmp_path, text, "data.ratings=null", "data.synthetic.num_users=5", "train.lr=null", "seed=9"
    )
    assert config.data.ratings is None
    assert config.data.synthetic is not None
    assert config.data.synthetic.num_users == 5
    assert (config.train.epochs, config.train.lr, config.seed) == (7, 1e-4, 9)


def test_an_empty_section_means_its_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, f"{GOOD}train:\n").train.epochs == 15_000


def test_arrays_are_not_centred(tmp_path: Path) -> None:
    assert load(tmp_path, "data: {y: Y.npy, r: R.npy}\n").data.centre == "none"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_an_unreadable_file_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.yaml: (cannot be read|is not UTF-8)"):
        load_config(file)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "configs").glob("*.yaml")), ids=lambda p: p.stem
)
def test_resolved_text_loads_to_the_same_config(path: Path, tmp_path: Path) -> None:
    config = load_config(path, ["train.lr=1.0e-5"])
    assert load(tmp_path, config.to_yaml(), f"run_dir={config.run_dir}") == config


@given(st.text(max_size=60))
def test_any_text_is_a_config_or_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert "\n" not in str(caught.value)


@given(
    st.dictionaries(
        st.sampled_from(["seed", "device", "data", "model", "train", "run_dir", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(
                    st.sampled_from(["epochs", "lr", "ratings", "synthetic", "y"]), inner, max_size=3
                )
            ),
            max_leaves=5,
        ),
        max_size=4,
    )
)
def test_any_values_are_a_config_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, values: object
) -> None:
    file = tmp_path_factory.getbasetemp() / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    try:
        load_config(file)
    except ConfigError as error:
        assert "\n" not in str(error)
