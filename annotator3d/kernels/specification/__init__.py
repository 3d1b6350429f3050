"""The parts of :mod:`annotator3d.kernels.reference`."""
