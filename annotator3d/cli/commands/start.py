"""``annotator3d start``."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.cli.choices import AUTO
from annotator3d.cli.command import command
from annotator3d.cli.importing import add_reading, import_as_asked
from annotator3d.cli.options import add_device, add_set
from annotator3d.cli.working import add_working, check_working, work_through
from annotator3d.data.files import require_folder
from annotator3d.errors import ConfigError, some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotator3d.data.taxonomy import Taxonomy
    from annotator3d.engine.config.schema import RunConfig
    from annotator3d.engine.workdir import WorkDir

CLASSES = "semantickitti19"  # those of the network that comes with the package


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("scans", metavar="SCANS", help="folder of your scans, or what `import` has made of them")
    add(
        "--out",
        metavar="DIR",
        help="gets data/ and run/ (default: work_dirs/ and the name of SCANS)",
    )
    add("--taxonomy", metavar="FILE", help=f"your classes (default: {CLASSES})")
    add("--init", metavar="FILE", help="network to start from (default: that of the package)")
    add_device(parser)
    add_set(parser)
    add_reading(parser, format=AUTO)
    add_working(parser)
    # A person answers, so all scans may be asked about: none is kept for an evaluation.
    parser.set_defaults(val=None, val_share=0.0, seed=0, config=None, data_root=None)


@command(
    "start",
    help="from a folder of scans to the first query on the screen, and on from there",
    options=add_options,
    order=12,
    when_stopped="; nothing in the ledger is lost: the same command continues",
)
def start(args: argparse.Namespace) -> None:
    from annotator3d.engine.workdir import WorkDir

    require_folder(args.scans, "SCANS")
    scans = Path(args.scans)
    check_working(args)
    out = Path(args.out or Path("work_dirs") / scans.resolve().name)
    data, work_dir = _data(args, scans, out), WorkDir(out / "run")
    again = f"annotator3d start {shlex.quote(str(args.scans))}"
    again += f" --out {shlex.quote(str(args.out))}" if args.out else ""
    if work_dir.config_path.is_file():
        config = work_dir.config(None, _settings(args), network=True)
        _refuse_other_network(args, config, work_dir)
    else:
        config = _first_config(args, data)
    work_through(args, config, work_dir, str(data), again)


def _data(args: argparse.Namespace, scans: Path, out: Path) -> Path:
    """The dataset: what `import` wrote, there or in `out`, or writes now."""
    from annotator3d.data.importing.card import CARD, TAXONOMY
    from annotator3d.data.importing.report import summary
    from annotator3d.data.importing.rules import NONE
    from annotator3d.data.taxonomy import load_taxonomy

    for folder in (scans, out / "data"):
        if (folder / CARD).is_file():
            _refuse_other_classes(args, load_taxonomy(folder / TAXONOMY), folder)
            return folder
    if args.label_field is None and args.labels is None and not args.label_colors:
        args.label_field = NONE  # whatever numbers the files hold, a person answers
    result = import_as_asked(args, scans, out / "data", args.taxonomy or CLASSES)
    for line in summary(result, load_taxonomy(out / "data" / TAXONOMY)):
        print(line)
    return out / "data"


def _refuse_other_classes(args: argparse.Namespace, taxonomy: Taxonomy, folder: Path) -> None:
    from annotator3d.data.taxonomy import load_taxonomy

    if args.taxonomy and load_taxonomy(args.taxonomy).digest() != taxonomy.digest():
        raise ConfigError(
            f"--taxonomy {args.taxonomy} has other classes than the scans that were imported into "
            f"{folder} ({some(taxonomy.names)}); drop the option, or choose another --out"
        )


def _refuse_other_network(args: argparse.Namespace, config: RunConfig, work_dir: WorkDir) -> None:
    if args.init and config.init != str(Path(args.init).resolve()):
        raise ConfigError(
            f"--init {args.init}: the run in {work_dir} started from "
            f"{config.init or 'random weights'}; drop the option, or choose another --out"
        )


def _settings(args: argparse.Namespace) -> list[str]:
    device = [] if args.device is None else [f"device={args.device}"]
    return [*device, *(args.set or ())]


def _first_config(args: argparse.Namespace, data: Path) -> RunConfig:
    from annotator3d.data.importing.card import TAXONOMY
    from annotator3d.data.taxonomy import load_taxonomy
    from annotator3d.engine.config.load import find_config, load_config

    network = _network(args, load_taxonomy(data / TAXONOMY).names)
    settings = ["active.oracle=person", "data.val=null"]
    if network is not None:
        settings.append(f"init={json.dumps(str(network.resolve()))}")
    name = "al/own_data" if network is None else "asfda/own_data"
    return load_config(find_config(name), [*settings, *_settings(args)])


def _network(args: argparse.Namespace, classes: Sequence[str]) -> Path | None:
    """What to start from, and in words what that means; None: random weights."""
    from annotator3d.engine.training.checkpoint_file import read_checkpoint
    from annotator3d.engine.training.identity import identity_in
    from annotator3d.models.trained import start_network

    path = Path(args.init) if args.init else start_network()
    if path is None:
        print("this installation has no network to start from: the first questions are random")
        return None
    if args.init and not path.is_file():
        raise FileNotFoundError(f"--init {path}: there is no such file")
    told = read_checkpoint(path)
    known = (identity_in(told, path) or {"classes": []})["classes"]
    new = [name for name in classes if name not in known]
    if len(new) == len(classes):
        print(
            f"the network in {path} knows none of the classes ({some(classes)}), so the first "
            "questions are random"
        )
        return None
    print(f"starting from {path}: {_origin(told)}")
    if new:
        print(f"it knows the other classes, but not {some(new)}: these begin with random weights")
    return path


def _origin(told: dict) -> str:
    from annotator3d.engine.pretraining import SIMULATED
    from annotator3d.engine.training.weights_file import CARD

    source = told.get(CARD, {}).get("trained_on", {})
    if source.get("type") != SIMULATED:
        return f"trained on {source.get('type', 'nobody knows what')}"
    return (
        f"trained on simulated streets, {source.get('scans_in_all')} scans of a sensor with "
        f"{source.get('beams')} beams on a car. Another sensor or place is new to it, so its first "
        "predictions may be wrong; your answers teach it"
    )
