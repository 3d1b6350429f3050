"""What docs/extending.md shows works from a folder outside the package; mistakes are named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config, load_config
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger
from annotator3d.registry import STRATEGIES, fill

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCK = re.compile(r"```python\n# (\S+\.py)\n(.*?)```", re.DOTALL)
RUNS = ("doubt", "unseen", "hurried", "shallow", "arrays", "sides")
# Only sizes: what is shown on the page is not changed.
SIZES = [
    *("model.backbone.planes=[4,4,8,8,4]", "model.backbone.blocks=1", "model.voxel_size=2.0"),
    *("schedule.epochs=2", "active.rounds_at=[0,1]", "data.train.beams=16", "data.val.beams=16"),
    *(f"data.{part}.{key}" for part in ("train", "val") for key in ("scans=1", "sequences=1")),
    *("data.train.azimuths=90", "data.val.azimuths=90"),
]


def snippets():
    """File name -> text of each Python block that begins with a file name."""
    if not PAGE.exists():
        pytest.skip("the page is not beside the tests")
    return {name: f"# {name}\n{text}" for name, text in BLOCK.findall(PAGE.read_text())}


def sizes_for(run):
    own = {"shallow": "backbone", "arrays": "data."}.get(run, "-")
    sizes = [setting for setting in SIZES if own not in setting]
    if run == "sides":  # a scan is not mixed with itself
        sizes = [setting.replace("train.scans=1", "train.scans=2") for setting in sizes]
    return [f"--set={setting}" for setting in sizes]


CHILD = textwrap.dedent(
    """
    import json, sys
    from annotator3d.cli.main import main
    for arguments in json.loads(sys.argv[1]):
        if code := main(arguments):
            sys.exit(f"{arguments}: exit code {code}")
    """
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """All examples of the page, run by the command line from a folder that is not theirs."""
    top = tmp_path_factory.mktemp("outside")
    folder, random = top / "mine", np.random.default_rng(0)
    folder.mkdir()
    for name, text in snippets().items():
        (folder / name).write_text(text)
    for split in ("train", "val"):
        (top / "arrays" / split).mkdir(parents=True)
        xyz = random.uniform([-20, -20, -2], [20, 20, 3], (400, 3))
        raw = random.choice([10, 40, 50, 70], 400)
        points = np.column_stack([xyz, random.random(400), raw]).astype(np.float32)
        np.save(top / "arrays" / split / "000000.npy", points)
    commands = [
        ["train", f"mine/{run}_config.py", "--work-dir", f"runs/{run}", *sizes_for(run)]
        for run in RUNS
    ]
    # The kept config knows where the file was: evaluation needs no more.
    kept = ["runs/doubt/config.yaml", "runs/doubt/checkpoints/epoch_2.pth"]
    process = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps([*commands, ["evaluate", *kept]])],
        cwd=top,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "ANNOTATOR3D_CACHE": str(top / "cache"), "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return top / "runs"


def test_each_example_is_one_file_and_one_config_of_under_50_lines():
    found = snippets()
    assert set(found) == {f"{run}{end}.py" for run in RUNS for end in ("", "_config")}
    for run in RUNS:
        lines = (found[f"{run}.py"] + found[f"{run}_config.py"]).splitlines()
        assert len(lines) < 50
        assert f'imports=["{run}.py"]' in found[f"{run}_config.py"]


def test_the_strategy_of_the_page_asks(trained):
    with Ledger.read(trained / "doubt" / "ledger.sqlite") as ledger:
        assert [r.strategy for r in ledger.rounds()] == ["random", "doubt"]
        scores = [q.score for q in ledger.queries(2)]
    assert scores and all(0 < score < 1 for score in scores)


def test_the_strategy_of_the_page_that_needs_the_pool_asks(trained):
    with Ledger.read(trained / "unseen" / "ledger.sqlite") as ledger:
        assert [r.strategy for r in ledger.rounds()] == ["random", "unseen"]
        scores = [q.score for q in ledger.queries(2)]
    assert scores and all(0 < score <= 1 for score in scores)


def test_the_oracle_of_the_page_answers(trained):
    with Ledger.read(trained / "hurried" / "ledger.sqlite") as ledger:
        answers = [answer for _, answer in ledger.responses()]
    assert answers and all(a.annotator == "hurried" and a.clicks == 1 for a in answers)
    assert all(len(set(a.labels.tolist())) == 1 for a in answers)


def test_the_backbone_of_the_page_is_trained(trained):
    path = trained / "shallow" / "checkpoints" / "epoch_2.pth"
    weights = torch.load(path, weights_only=True)["state_dict"]
    assert weights["backbone.layers.1.conv.weight"].shape == (24, 3, 3, 3, 24)


def test_the_data_set_of_the_page_is_read(trained):
    with Ledger.read(trained / "arrays" / "ledger.sqlite") as ledger:
        assert [(s.id, s.num_points) for s in ledger.scans()] == [("train/000000", 400)]
        assert ledger.summary().answered == 2


def test_the_recipe_of_the_page_mixes(trained):
    kept = yaml.safe_load((trained / "sides" / "config.yaml").read_text())
    assert kept["training"]["mix"] == "sides" and kept["data"]["train"]["scans"] == 2
    assert (trained / "sides" / "checkpoints" / "epoch_2.pth").exists()


def test_the_kept_config_knows_where_the_file_was(trained):
    kept = yaml.safe_load((trained / "doubt" / "config.yaml").read_text())["custom_imports"]
    assert kept["imports"] == ["doubt.py"]
    assert kept["folder"] == str((trained.parent / "mine").resolve())


def write(folder, config, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    path = folder / "config.py"
    path.write_text(config)
    return path


@pytest.fixture
def clean(monkeypatch):
    """Python's path, modules and our registries as they were, after the test."""
    fill(STRATEGIES)  # what is imported for the first time in between would be lost
    monkeypatch.setattr(sys, "path", list(sys.path))
    before, names = set(sys.modules), dict(STRATEGIES.module_dict)
    yield
    STRATEGIES.module_dict.clear()
    STRATEGIES.module_dict.update(names)
    for name in set(sys.modules) - before:
        if name.startswith("outside_"):
            del sys.modules[name]


STRATEGY = """
from annotator3d.active.strategies import STRATEGIES, QueryStrategy

@STRATEGIES.register_module("{name}")
class Mine(QueryStrategy):
    name = "{name}"
    needs_model = False
"""


def test_modules_and_other_folders_are_found_too(tmp_path, clean):
    package = tmp_path / "lib" / "outside_package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "scores.py").write_text(STRATEGY.format(name="thirsty"))
    imports = "custom_imports = dict(imports=['outside_package.scores'], folder='../lib')\n"
    path = write(tmp_path / "a", imports + "active = dict(strategy='thirsty')")
    config = load_config(path)
    assert config.active.strategy == "thirsty"
    kept = tmp_path / "elsewhere" / "config.yaml"
    kept.parent.mkdir()
    kept.write_text(dump_config(config))
    assert load_config(kept) == config


def test_an_unknown_name_gets_the_nearest_one_that_is_not_ours(tmp_path, clean):
    path = write(
        tmp_path,
        "custom_imports = dict(imports=['outside_hungry.py'])\nactive = dict(strategy='hungri')",
        outside_hungry=STRATEGY.format(name="hungry"),
    )
    with pytest.raises(ConfigError, match="active.strategy: unknown .*did you mean 'hungry'"):
        load_config(path)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("imports=['none.py']", "custom_imports.imports: none.py: there is no file .*none.py"),
        ("imports=['outside_none']", "cannot be imported: ModuleNotFoundError.*and in "),
        ("imports=['outside_broken.py']", "outside_broken.py: cannot be imported: ZeroDivision"),
        ("imports=['outside_taken.py']", "outside_taken.py: cannot be imported: KeyError.*vcd"),
        ("imports=['random.py']", "Python has another module of that name.*rename the file"),
        ("imports=['x.py'], allow_failed_imports=True", "allow_failed_imports: expected false"),
        ("imports='outside_taken.py'", "custom_imports.imports: expected a list"),
        ("import_=['x.py']", "unknown key 'custom_imports.import_': did you mean 'imports'"),
    ],
)
def test_mistakes_in_the_imports_are_named(tmp_path, clean, table, words):
    path = write(
        tmp_path,
        f"custom_imports = dict({table})",
        outside_broken="1 / 0",
        outside_taken=STRATEGY.format(name="vcd"),
        random="",
    )
    with pytest.raises(ConfigError, match=words):
        load_config(path)


def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path, clean, capsys):
    path = write(tmp_path, "custom_imports = dict(imports=['none.py'])")
    assert main(["train", str(path)]) == 2
    assert "there is no file" in capsys.readouterr().err


def test_a_config_starts_from_one_of_ours_by_its_name(tmp_path):
    path = write(tmp_path, "_base_ = 'annotator3d::ada/streets_demo'\nseed = 4")
    config = load_config(path)
    assert (config.setting, config.seed, config.schedule.batch_size) == ("ada", 4, 2)
    path.write_text("_base_ = 'annotator3d::ada/street_demo'")
    with pytest.raises(ConfigError, match="did you mean 'ada/streets_demo'"):
        load_config(path)
