"""annotator3d: label LiDAR scans by asking an oracle about a few confused voxels per scan.

Importing the package imports nothing heavy; take what is needed from its parts, for example
``from annotator3d.kernels.grouping import voxelize``.
"""

__version__ = "0.1.0"
