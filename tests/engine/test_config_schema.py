"""Every key of the schema refuses what it cannot be, and the message names the key."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annotator3d.analysis.runs import SETTINGS
from annotator3d.data.batch import FEATURES, TARGET_RULES
from annotator3d.engine.config.load import dump_config, make_config
from annotator3d.engine.config.schema import ModelConfig, RunConfig
from annotator3d.engine.config.values import read_values
from annotator3d.errors import ConfigError
from annotator3d.models.segmentor import BN_RULES


def keys(table: type = RunConfig, where: tuple[str, ...] = ()) -> Iterator[tuple[tuple, Any]]:
    """Path and annotated type of every key that is no table of keys itself."""
    for name, kind in typing.get_type_hints(table, include_extras=True).items():
        if dataclasses.is_dataclass(kind):
            yield from keys(kind, (*where, name))
        else:
            yield (*where, name), kind


def parts(kind: Any) -> set[Any]:
    """The plain types that an annotation is made of, at any depth."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal or not inner:
        return {typing.get_origin(kind) or kind}
    origin = typing.get_origin(kind)
    own = {origin} if origin in (list, dict) else set()
    return own.union(*(parts(k) for k in inner[: 1 if hasattr(kind, "__metadata__") else None]))


def nested(path: tuple[str, ...], value: Any) -> dict:
    for name in reversed(path):
        value = {name: value}
    return value


KEYS = dict(keys())
# One that takes words too says so: see test_label_points_runs.py.
NUMBERS = {
    path: kind
    for path, kind in KEYS.items()
    if parts(kind) & {int, float} and str not in parts(kind)
}
WHOLE = {path for path, kind in NUMBERS.items() if float not in parts(kind)}


def test_the_numbers_of_the_schema_are_found():
    assert {("seed",), ("active", "rounds_at"), ("schedule", "evaluate_at")} <= WHOLE
    assert {("model", "voxel_size"), ("schedule", "ema")} <= NUMBERS.keys() - WHOLE
    assert len(NUMBERS) > 25 and ("model", "adapt_bn") not in NUMBERS


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), True, "1", {}, 1j])
@pytest.mark.parametrize("path", NUMBERS, ids=".".join)
def test_every_number_refuses_what_is_no_finite_number(path, wrong):
    value = [wrong] if list in parts(KEYS[path]) else wrong
    with pytest.raises(ConfigError, match=rf"^{'.'.join(path)}: expected .*, got "):
        read_values(nested(path, value))


@pytest.mark.parametrize("path", sorted(WHOLE), ids=".".join)
def test_every_integer_refuses_a_fraction(path):
    value = [0.5] if list in parts(KEYS[path]) else 0.5
    with pytest.raises(ConfigError, match=f"^{'.'.join(path)}: expected an integer, got 0.5"):
        read_values(nested(path, value))


@pytest.mark.parametrize("path", sorted(NUMBERS.keys() - WHOLE), ids=".".join)
def test_every_fraction_takes_an_integer_and_refuses_a_negative_one(path):
    if "decay" not in path[-1] and path != ("schedule", "ema"):  # between 0 and 1
        assert read_values(nested(path, 1)) is not None
    with pytest.raises(ConfigError, match=f"^{'.'.join(path)}: expected .*, got -1"):
        read_values(nested(path, -1))


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_every_key_refuses_a_value_of_another_kind(path):
    with pytest.raises(ConfigError, match=f"^{'.'.join(path)}: expected .*, got binary data"):
        read_values(nested(path, b"x"))


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_every_misspelt_key_gets_the_nearest_one(path):
    *where, name = path
    with pytest.raises(ConfigError, match=f"unknown key '{'.'.join(path)}_': did you mean '{name}"):
        read_values(nested((*where, f"{name}_"), None))


def test_choices_are_those_of_the_parts_that_act_on_them():
    hints = typing.get_type_hints(ModelConfig)
    assert typing.get_args(hints["features"]) == FEATURES
    assert typing.get_args(hints["target_rule"]) == TARGET_RULES
    assert typing.get_args(hints["bn"]) == BN_RULES
    assert typing.get_args(typing.get_type_hints(RunConfig)["setting"]) == SETTINGS


def test_every_key_is_documented():
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    if not page.exists():
        pytest.skip("the page is not beside the tests")
    table = page.read_text().partition("\n## Config keys")[2].partition("\n\n`schedule.opt")[0]
    cells = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    documented = {key for cell in cells for key in re.findall(r"`([a-z_.]+)`", cell)}
    known = {".".join(path) for path in KEYS if path[0] != "custom_imports"}
    assert documented == known | {"variant", "custom_imports"}


def test_a_config_is_a_value_that_can_be_changed_copied_and_compared():
    config = make_config({"active": {"rounds_at": (0, 5)}, "model": {"voxel_size": 1}})
    assert config.active.rounds_at == [0, 5] and type(config.model.voxel_size) is float
    other = dataclasses.replace(config, seed=3)
    assert other != config and dataclasses.replace(other, seed=0) == config
    other.model.backbone = {"type": "SPVCNN"}
    assert "SPVCNN" in dump_config(other)
    values = {"schedule": {"augmentation": {"flip": False}}}
    make_config(values).schedule.augmentation["flip"] = True
    assert RunConfig() == RunConfig() and RunConfig().schedule.augmentation == {}
