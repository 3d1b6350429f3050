"""A network to start from: trained on a source alone, written with a card that says what it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from annotator3d.data.files import atomic_write, make_folder
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.record import RunRecord
from annotator3d.engine.run import train
from annotator3d.engine.training.checkpoint_file import STATE, read_checkpoint
from annotator3d.engine.training.identity import NETWORK, identity_of
from annotator3d.engine.training.prototypes import KEY as PROTOTYPES
from annotator3d.engine.training.weights_file import CARD, digest_of, write_weights
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError, count, in_yaml
from annotator3d.reporter import Reporter

LICENCE, SIMULATED = "Apache-2.0", "SimulatedStreets"
NOT_OURS = "not stated; that of the scans it was trained on has a say"
WEIGHTS, MODEL_CARD, RUN = "network.safetensors", "MODEL_CARD.md", "run"


def pretrain(
    config: RunConfig,
    out: Path,
    reporter: Reporter | None = None,
    data_root: str | None = None,
) -> Path:
    """Train on the source alone and write ``network.safetensors`` and ``MODEL_CARD.md``.

    The run is in ``out/run``. What was stopped continues when it is called again.

    Args:
        config: of the setting ``source_only``, with ``data.val`` for the scores on the card.
        data_root: root of the scans that are tested on, if not where the config says.

    Returns:
        the path of the weights. They go to ``init`` of ASFDA and ADA, and wherever a checkpoint of
        the same classes goes.

    Raises:
        ConfigError: another setting, or nothing to test on; and as `train`.
    """
    if config.setting != "source_only" or config.data.val is None:
        raise ConfigError(
            f"pretrain: expected a config of the setting source_only with data.val, got "
            f"{config.setting} with data.val={in_yaml(config.data.val)}"
        )
    make_folder(out)
    folder = WorkDir(out / RUN)
    record = RunRecord(folder, config, [])
    if not record.is_done():
        record = train(
            config,
            folder.path,
            resume=True,
            data_root=data_root,
            reporter=reporter,
            may_grow=False,
        )
    info = folder.run_info()
    content = read_checkpoint(folder.checkpoints / f"epoch_{config.schedule.epochs}.pth")
    card = card_of(config, info, record.final(), content[STATE])
    told = {NETWORK: identity_of(config, info["classes"]), CARD: card}
    more = {PROTOTYPES: content[PROTOTYPES]} if PROTOTYPES in content else {}
    write_weights(out / WEIGHTS, content[STATE], told, more)
    with atomic_write(out / MODEL_CARD) as file:
        file.write(card_in_words(card, info["classes"]).encode())
    return out / WEIGHTS


def card_of(
    config: RunConfig,
    info: Mapping[str, Any],
    final: Mapping[str, Any],
    weights: Mapping[str, Tensor],
) -> dict[str, Any]:
    """What is known of the weights, in plain values.

    Args:
        info: run.json of the training. final: its last evaluation.
    """
    return {
        "licence": LICENCE if config.data.source["type"] == SIMULATED else NOT_OURS,
        "backbone": dict(config.model.backbone),
        "parameters": info["network"]["parameters"],
        "trained_on": {**config.data.source, **_scans(info, "source")},
        "tested_on": {**config.data.val, **_scans(info, "val")},
        "epochs": config.schedule.epochs,
        "batch_size": config.schedule.batch_size,
        "seed": config.seed,
        "miou": final["miou"],
        "iou_per_class": final["iou_per_class"],
        "versions": info["versions"],
        "git": info["git"],
        "weights": digest_of(weights),
    }


def card_in_words(card: Mapping[str, Any], classes: list[str]) -> str:
    """The card for people, in Markdown."""
    simulated, tested = (card[k]["type"] == SIMULATED for k in ("trained_on", "tested_on"))
    versions = {name: value for name, value in card["versions"].items() if value != "missing"}
    lines = [
        "# A network to start from",
        "",
        f"{card['backbone']['type']}, {count(card['parameters'], 'parameter')}, "
        f"{len(classes)} classes. Licence: {card['licence']}. Weights: `{card['weights']}`.",
        "",
        "## What it is for",
        "",
        "It proposes classes and asks the first questions on scans that nobody has labelled: "
        "`init` of ASFDA and ADA. It is not meant to be used as it is.",
        "",
        "## What it was trained on",
        "",
        f"- {_data_in_words(card['trained_on'])}",
        f"- {count(card['epochs'], 'epoch')} of batches of {card['batch_size']}, "
        f"seed {card['seed']}",
        f"- {_in_words(versions)}, commit {card['git']}",
        "",
        "## How it was tested",
        "",
        f"On {_data_in_words(card['tested_on'])}: mIoU {card['miou']:.1f} %."
        + (" These are simulated streets too; on real scans it is worse." if tested else ""),
        "",
        "| class | IoU [%] |",
        "|---|--:|",
        *(
            f"| {name} | {'not tested' if iou is None else f'{iou:.1f}'} |"
            for name, iou in card["iou_per_class"].items()
        ),
        "",
        "## Its limits",
        "",
        "- Sensor: that of the scans it was trained on. Of other sensors, at other heights or "
        "indoors, expect little.",
        "- Classes: those of the table. With another class list the rows of its head whose classes "
        "have the same name are taken; the others start from random.",
    ]
    if simulated:
        lines.append("- Shapes, traffic and intensity are simulated.")
    return "\n".join([*lines, ""])


def _scans(info: Mapping[str, Any], split: str) -> dict[str, Any]:
    known = info["data"][split]
    return {"scans_in_all": known["scans"], "fingerprint": known["fingerprint"]}


def _data_in_words(data: Mapping[str, Any]) -> str:
    return f"{data['type']} ({_in_words({k: v for k, v in data.items() if k != 'type'})})"


def _in_words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
