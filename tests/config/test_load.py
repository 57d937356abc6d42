"""Configs: every mistake gives one line that names the file and the key."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.config import Config, load_config, quote_yaml
from cofi_dist.config.strict_yaml import parse
from cofi_dist.errors import ConfigError

GOOD = "data: {ratings: r.csv}\n"

# a few lines that aliases, or merges of them, unfold to more than memory holds
LAUGHS = "a0: &a0 [x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGED = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], k{n}: 1}}\n" for n in range(1, 12)
)


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
        "alpha": None,
        "unknown_weight": 0.0,
        "optimizer": "adam",
        "solver": "cg",
        "cg_steps": 3,
        "tolerance": None,
        "average": None,
        "noise": None,
        "cost": "sparse",
        "dtype": "float32",
        "reduction": "fast",
        "items": "replicated",
        "item_block": None,
        "blocks": None,
        "log_every": 100,
        "loggers": [],
        "init": "notebook",
        "start": None,
        "deadline": None,
        "timeout": 600.0,
        "backend": "auto",
    }


@pytest.mark.parametrize(
    ("given", "loggers"),
    [
        ("tensorboard: true", ["tensorboard"]),
        ("tensorboard: false", []),
        ("tensorboard: null", []),
        ("tensorboard: false, loggers: [mlflow]", ["mlflow"]),
        ("tensorboard: true, loggers: [mlflow, tensorboard]", ["mlflow", "tensorboard"]),
    ],
)
def test_configs_of_runs_before_loggers_still_hold(given: str, loggers: list[str], tmp_path: Path) -> None:
    assert load(tmp_path, f"{GOOD}train: {{{given}}}\n").train.loggers == loggers
    assert load(tmp_path, GOOD, f"train.{given.partition(',')[0].replace(': ', '=')}").train.loggers == [
        *(["tensorboard"] if "tensorboard: true" in given else [])
    ]


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
        (
            "data: {ratings: r.csv}\ntrain: {lr: '1e-4'}\n",
            "train.lr: '1e-4' is text; write 0.0001, without quotes",
        ),
        (
            "data: {ratings: r.csv}\ntrain: {epochs: '1e3'}\n",
            "train.epochs: '1e3' is text; write 1000, without quotes",
        ),
        (
            "data: {ratings: r.csv}\ntrain: {epochs: 1e3}\n",
            "train.epochs: must be a whole number; write 1000, not 1000.0",
        ),
        (
            "data: {ratings: 1e-4}\n",
            "data.ratings: must be text, and 0.0001 is not text in YAML; put it in quotes",
        ),
        (
            "data: {ratings: r.csv}\ntrain: {lr: 1e999}\n",
            "train.lr: input should be a finite number, not inf",
        ),
        ("data: {ratings: r.csv}\ntrain: {lr: 1e+4:30}\n", "train.lr: input should be a valid number"),
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
        ("a: &a [*a]\n", "line 1: an alias refers to what it stands in"),
        ("a: &a {b: *a}\n", "an alias refers to what it stands in"),
        ("date: {ratings: r.csv}\n", "date: unknown key"),
        ("data: {ratings: r.csv}\nfoo: null\n", "foo: unknown key; there are seed,"),
        ("data: {ratings: r.csv}\ntrain: {epoch:}\n", "train.epoch: unknown key; there are epochs,"),
        ("data: {ratings: r.csv, test: {m: null}}\n", "data.test.m: unknown key; there are by,"),
        ("data: {ratings: r.csv}\nseed: 010\n", "line 2: '010' is octal in YAML"),
        ("data: {ratings: r.csv}\ntrain: {deadline: 1:30:00}\n", "line 2: '1:30:00' is a number to base 60"),
        ("data: {ratings: r.csv}\ntrain: {timeout: 1:30.5}\n", "line 2: '1:30.5' is a number to base 60"),
        (
            "data: {ratings: r.csv}\ncheckpoint: {allow_changes: yes}\n",
            "checkpoint.allow_changes: 'yes' is text here; write true",
        ),
        (
            "data: {ratings: r.csv}\ntrain: {tensorboard: yes}\n",
            "train: tensorboard: is now loggers: [tensorboard]; write that, or leave it out",
        ),
        (
            "data: {ratings: r.csv}\ntrain: {tensorboard: true, loggers: [mlflow]}\n",
            "train: tensorboard: true is not what loggers says",
        ),
        (
            "data: {ratings: r.csv}\ntrain: {loggers: [mlflow, mlflow]}\n",
            "train.loggers: names a tracker twice; keep one of them",
        ),
        (
            "data: {ratings: r.csv}\nrun_dir: 7\n",
            "run_dir: must be text, and 7 is not text in YAML; put it in quotes",
        ),
        ("data: {ratings: r.csv}\nrun_dir: ~\n", "line 2: ~ alone is null in YAML"),
        ('data: {ratings: "a\\0b"}\n', "data.ratings: a path cannot hold a NUL"),
        ("data: {ratings: ''}\n", "data.ratings: a path is empty"),
        ("data: {ratings: s3://a/r.csv}\n", "data.ratings: s3://a/r.csv: of object stores, only"),
        ("data: {ratings: r.csv}\nrun_dir: a\0b\n", "holds the character U+0000"),
        ("data: {ratings: r.csv}\nseed: !!int x\n", "a tag does not fit its value"),
        (f"data: {{ratings: r.csv}}\nseed: {'9' * 5000}\n", "line 2: a number of 5,000 digits"),
        (f"data: {{ratings: r.csv}}\nseed: 0x{'f' * 5000}\n", "line 2: a number of 5,002 digits"),
        (
            f"data: {{ratings: r.csv}}\nseed: {'9' * 300}\n",
            "seed: input should be less than 9223372036854775808",
        ),
        (
            f"data: {{ratings: r.csv}}\ntrain: {{lr: {'9' * 399}}}\n",
            "train.lr: input should be a valid number",
        ),
        (
            "data: {ratings: r.csv}\nmodel: {num_features: 3000000000}\n",
            "model.num_features: input should be less",
        ),
        (f"x: {'[' * 30_000}", "is nested too deeply"),
        (f"{'- ' * 20_000}", "is nested too deeply"),
        (f"x: [{'a,' * 30_000}]", "holds more than 5,000 values"),
        ("#" * 2**16 + "\n", "it has 65,537 bytes, and may have 65,536"),
        (LAUGHS, "unfolds to more than 5,000 values"),
        (MERGED, "unfolds to more than 5,000 values"),
    ],
    ids=lambda text: text[:40],
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
        ("train.lr='1e-4'", "c.yaml (override): train.lr: '1e-4' is text; write 0.0001, without quotes"),
        ("train.nope=1", "c.yaml (override): train.nope: unknown key; there are epochs, lr, lambda_,"),
        (
            "train.epochs=0",
            "c.yaml (override): train.epochs: input should be greater than or equal to 1, not 0",
        ),
        ("train.epochs=[", "override 'train.epochs=[': "),
        (
            "train.loggers=[mlflwo]",
            "c.yaml (override): train.loggers.0: input should be 'tensorboard', 'mlflow'",
        ),
        ("train.nope=null", "c.yaml (override): train.nope: unknown key; there are epochs,"),
        ("train.epochs=", "override 'train.epochs=': there is no value; give one, or null to unset the key"),
        ("train.epochs=3 # or 4", "'# or 4' is a comment in YAML; put the value in quotes"),
        ("seed=~", "~ alone is null in YAML"),
        ("train={lr: 0.1, lr: 0.2}", "lr: given twice; keep one of them"),
        ("seed=" + "9" * 2**16, "a number of 65,536 digits is beyond any use"),
        ("seed=" + "9" * 2**17, "has 131,072 characters, and may have 65,536"),
        (
            "run_dir=~nobody-of-this-name/r",
            "run_dir: ~nobody-of-this-name: there is no user nobody-of-this-name",
        ),
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


@pytest.mark.parametrize(
    ("overrides", "lost"),
    [
        (["seed=2", "seed=3"], "seed"),
        (["seed=2", "seed=2"], "seed"),
        (["train.lr=0.1", "train={epochs: 3}"], "train.lr"),
        (["data={ratings: a.csv, centre: none}", "data.centre=item_mean"], "data.centre"),
        (["data={}", "data={ratings: a.csv}"], "data"),
    ],
)
def test_no_override_takes_back_another_one(overrides: list[str], lost: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD, *overrides)
    assert str(caught.value) == f"override {overrides[1]!r}: {lost} was set before it; keep one of them"


def test_overrides_add_to_a_section_that_was_set_before(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD, "data={prepared: ready}", "data.centre=none", "train={}", "train.epochs=3")
    assert (config.data.prepared, config.data.centre, config.train.epochs) == ("ready", "none", 3)


@pytest.mark.parametrize(
    "text",
    [
        "on",
        "2020-01-01",
        "01",
        "1e-4",
        "a: b",
        "[x",
        "*x",
        "%x",
        "@x",
        "a #b",
        "x ",
        " x",
        "a\nb",
        "{",
        "=",
        "- x",
    ],
)
def test_what_holds_text_takes_it_as_it_stands(text: str, tmp_path: Path) -> None:
    config = load(tmp_path, GOOD, f"run_dir={text}", f"data.columns.user={text}")
    assert (config.run_dir, config.data.columns.user) == (text, text)


def test_ratings_are_named_by_a_text_or_by_a_list(tmp_path: Path) -> None:
    for given_, want in (
        ("[a.csv, 'b[1].csv']", ["a.csv", "b[1].csv"]),
        ("[e]x/*.csv", "[e]x/*.csv"),
        ("'[a.csv]'", "[a.csv]"),
        ("s3://bucket/*.parquet", "s3://bucket/*.parquet"),
    ):
        config = load(tmp_path, "", f"data.ratings={given_}", f"data.test.file={given_}")
        assert config.data.ratings == want
        assert config.data.test is not None
        assert config.data.test.file == want
    config = load(
        tmp_path, GOOD, "data.ratings=[a.csv,s3://b/c]", "data.test={file: t.csv}"
    ).with_absolute_paths()
    assert config.data.ratings == [str(Path("a.csv").absolute()), "s3://b/c"]
    assert config.data.test is not None
    assert config.data.test.file == str(Path("t.csv").absolute())
    for text, says in (
        ("[]", "data.ratings: an empty list names no file"),
        ("[1]", "data.ratings: must be text, and 1 is not text in YAML; put it in quotes"),
        ("[a.csv, '']", "data.ratings: a path is empty; is a variable not set?"),
        ("ftp://a/b.parquet", "data.ratings: ftp://a/b.parquet is a URL"),
    ):
        with pytest.raises(ConfigError, match=re.escape(says)):
            load(tmp_path, GOOD, f"data.ratings={text}")


@pytest.mark.parametrize("text", ["1e-4", "1E4", "1.e3", ".5e3", "+1e+4", "-1.5e3", "1.5e-3", "0e0"])
def test_a_number_needs_neither_a_point_nor_a_sign(text: str, tmp_path: Path) -> None:
    assert parse(text) == float(text)
    if (number := abs(float(text))) > 0:
        text = text.lstrip("+-")
        config = load(tmp_path, f"{GOOD}train: {{timeout: {text}}}\n", f"train.lr={text}")
        assert (config.train.timeout, config.train.lr) == (number, number)


def test_text_of_yaml_is_no_truth_and_no_date(tmp_path: Path) -> None:
    config = load(tmp_path, "data: {ratings: no, columns: {user: on}}\nrun_dir: 2020-01-01\n")
    assert (config.data.ratings, config.data.columns.user, config.run_dir) == ("no", "on", "2020-01-01")


def test_unset_the_run_dir_is_the_default(tmp_path: Path) -> None:
    assert load(tmp_path, f"{GOOD}run_dir: x\n", "run_dir=null").run_dir == "runs/c"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_name_survives_config_and_command_line(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    file, written = (tmp_path_factory.getbasetemp() / n for n in ("name.yaml", "written.yaml"))
    file.write_text(GOOD)
    config = load_config(file, [f"run_dir={quote_yaml('./' + name)}"])
    assert Path(config.run_dir).name == Path(name).name
    written.write_text(config.to_yaml())
    assert load_config(written).run_dir == config.run_dir


def test_an_empty_section_means_its_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, f"{GOOD}train:\n").train.epochs == 15_000


def test_arrays_are_not_centred(tmp_path: Path) -> None:
    assert load(tmp_path, "data: {y: Y.npy, r: R.npy}\n").data.centre == "none"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", GOOD.encode("utf-16"), b"caf\xe9: 1"])
def test_an_unreadable_file_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.yaml: (cannot be read|is not UTF-8)"):
        load_config(file)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "configs").glob("*.yaml")), ids=lambda p: p.stem
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


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_regular_file_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match=r"c\.yaml: cannot be read: it is a (pipe|folder|device)"):
        load_config(tmp_path / "c.yaml")


def test_events_have_defaults_of_their_own(tmp_path: Path) -> None:
    config = load(
        tmp_path, "data: {ratings: r.csv, feedback: implicit, validation: {}}\nvalidation: {every: 5}\n"
    )
    assert (config.train.alpha, config.train.unknown_weight) == (1.0, 1.0)
    assert (config.data.duplicates, config.data.centre) == ("sum", "none")
    assert (config.validation.metric, config.validation.list_length) == ("ndcg", 10)
    again = tmp_path / "again.yaml"
    again.write_text(config.to_yaml())
    assert load_config(again) == config


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD + "train: {alpha: 2}", "train.alpha: belongs to data.feedback: implicit"),
        (GOOD + "validation: {k: 5}", "k: belongs to metrics of lists"),
        ("data: {ratings: r, feedback: implicit, centre: item_mean}", "no ratings to centre"),
        ("data: {ratings: r, feedback: implicit}\nvalidation: {metric: rmse}", "take ndcg"),
        ("data: {ratings: r, feedback: implicit, columns: {weight: w}}", "weight of an event is"),
        ("data: {ratings: r, duplicates: sum}", "sum adds up events"),
        ("data: {ratings: r, feedback: implicit}\ntrain: {unknown_weight: -1}", "unknown_weight"),
    ],
)
def test_keys_of_events_and_of_ratings_do_not_mix(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        load(tmp_path, text)
