"""Scans on the grids of networks that do not read cubes: range image and polar bird's-eye view.

A projection sorts the points of a scan into cells, as `kernels.grouping.voxelize` sorts them into
cubes, and says what the network is told of each point. It is plain geometry: no weights, no state.
"""
