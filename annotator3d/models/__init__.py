"""Networks: sparse convolution back end, backbones, losses, segmentor."""

from annotator3d.models.minkunet import MinkUNet

__all__ = ["MinkUNet"]
