"""Networks: sparse convolution back end, backbones, losses, segmentor."""

from annotator3d.models.minkunet import MinkUNet
from annotator3d.models.spvcnn import SPVCNN

__all__ = ["SPVCNN", "MinkUNet"]
