"""A trained network that predicts scans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.api.config import Config
from annotator3d.data.batch import InputRule
from annotator3d.data.scan import Scan
from annotator3d.data.taxonomy import Taxonomy, load_taxonomy
from annotator3d.engine.build import build_model, input_rule, pick_device
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.prediction import point_logits
from annotator3d.engine.training.checkpoint_file import load_weights
from annotator3d.engine.training.identity import read_weights_for
from annotator3d.models.segmentor import Segmentor
from annotator3d.registry import DATASETS, lookup


@dataclass(frozen=True)
class Predictor:
    """A network together with how it sees a scan; `init_model` makes one."""

    network: Segmentor
    rule: InputRule
    class_names: list[str]

    def predict_logits(self, scan: Scan) -> NDArray[np.float32]:
        """Logits [N, C], before the softmax, of the N points of `scan`, in eval mode."""
        return point_logits(self.network, scan, self.rule).numpy()

    def predict(self, scan: Scan) -> NDArray[np.uint8]:
        """Train ids [N], 0 to C - 1, of the N points of `scan`."""
        return self.predict_logits(scan).argmax(1).astype(np.uint8)


def init_model(
    config: str | Path | RunConfig, checkpoint: str | Path | None = None, device: str = "auto"
) -> Predictor:
    """The network that a config describes.

    Args:
        config: a name, a file or a `RunConfig`; its classes are those of ``data.val``, or of
            ``data.train`` where it has none.
        checkpoint: weights of this network, as in ``checkpoints/`` of a work directory; None:
            random weights, seeded by the config.
        device: 'auto' (CUDA where torch finds it), 'cpu' or 'cuda'.

    Raises:
        ConfigError: see `Config.fromfile`; another device, or CUDA and there is none.
        FileNotFoundError: no such checkpoint.
        ValueError: the checkpoint is damaged, of another network, or its weights are not finite.
    """
    import torch

    found = config if isinstance(config, RunConfig) else Config.fromfile(config)
    taxonomy = taxonomy_of(found)
    with torch.random.fork_rng():
        torch.manual_seed(found.seed)
        network = build_model(found, taxonomy.num_classes)
    if checkpoint is not None:
        load_weights(network, read_weights_for(found, taxonomy.names, checkpoint), checkpoint)
    network = network.to(pick_device(device)).eval()
    return Predictor(network, input_rule(found, taxonomy.num_classes), list(taxonomy.names))


def taxonomy_of(config: RunConfig) -> Taxonomy:
    """The class list of a config's data; the scans need not be there.

    Raises ConfigError or ValueError for a class list that is not found.
    """
    values = config.data.val or config.data.train or config.data.source
    assert values is not None, "a checked config names data"
    return load_taxonomy(lookup(DATASETS, values["type"]).taxonomy_for(values))
