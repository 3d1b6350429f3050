"""The street simulator: labelled lidar scans of two domains, in the layout of SemanticKITTI."""

from annotator3d.data.simulator.domains import DOMAINS, VERSION
from annotator3d.data.simulator.sequence import simulate

__all__ = ["DOMAINS", "VERSION", "simulate"]
