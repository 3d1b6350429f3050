"""The street simulator: labelled LiDAR scans of two domains, in the layout of SemanticKITTI.

Numpy only. May import `files`, `formats` and `taxonomy` of this package.
"""

from annotator3d.data.simulator.domains import DOMAINS, VERSION
from annotator3d.data.simulator.sequence import simulate

__all__ = ["DOMAINS", "VERSION", "simulate"]
