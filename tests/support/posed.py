"""Poses and scans of a few points, for what places of the world are taught."""

from __future__ import annotations

import math

import numpy as np

from annotator3d.data.scan import Scan

STATIC = np.zeros(256, bool)
STATIC[:3] = True  # classes 0, 1 and 2 stay; 3 moves


def pose(x=0.0, y=0.0, z=0.0, turn=0.0):
    matrix, (cos, sin) = np.eye(4), (math.cos(turn), math.sin(turn))
    matrix[:2, :2] = [[cos, -sin], [sin, cos]]
    matrix[:3, 3] = x, y, z
    return matrix


def scan_of(xyz, labels=None):
    xyz = np.array(xyz, np.float32).reshape(-1, 3)
    return Scan.from_raw("00/000000", xyz, np.zeros(len(xyz), np.float32), labels)
