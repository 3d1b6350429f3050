"""The Open3D scene of one scan: points, voxels as boxes with pins, the current voxel enlarged.

While the queries of a scan are answered nothing is added or removed: colours, positions and
transforms change in place. (Open3D crashes after some 65,500 additions: isl-org/Open3D#7250.)
"""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np
import open3d as o3d
from numpy.typing import NDArray
from open3d.visualization import rendering

from annotator3d.viz.boxes import box_edges
from annotator3d.viz.camera import PIN
from annotator3d.viz.colours import BOX, CURRENT_BOX

ENLARGED = 4096  # most points of the current voxel that are drawn larger
NEAR = 8192  # most points of answers nearby
PENDING = 16  # updates of a cloud that a slow renderer may still have to read
_AWAY = np.float32([0, 0, -1e6])  # beyond the far plane: not drawn


class ScanScene:
    """The geometries of one scan.

    Args:
        scene: of a SceneWidget or an OffscreenRenderer.
        voxel_size: edge of a queried voxel in metres.
    """

    def __init__(self, scene: rendering.Open3DScene, voxel_size: float) -> None:
        self._scene, self._size = scene, voxel_size
        self.point_size = 3
        # Tone mapping would show other colours than those of the class list.
        scene.view.set_post_processing(False)
        self._xyz = np.empty((0, 3), np.float32)
        self._clouds: dict[str, o3d.t.geometry.PointCloud] = {}
        # The renderer reads an update later, from our memory: freed, it would show other colours.
        self._uploads: dict[str, deque] = defaultdict(lambda: deque(maxlen=PENDING))
        self._all_shown = True
        # Added at 0 and moved away after: the planes of the camera follow what was added.
        for name, count in (("current", ENLARGED), ("near", NEAR)):
            self._add(name, np.zeros((count, 3), np.float32))
            self._update(name, np.tile(_AWAY, (count, 1)))
            scene.scene.set_geometry_culling(name, False)  # its bounds stay those of 0
        box = _lines(box_edges([0, 0, 0], 1.06))
        scene.add_geometry("box", box, _line_material((*CURRENT_BOX.tolist(), 1.0), 4))
        scene.show_geometry("box", False)

    def show(
        self, xyz: NDArray[np.float32], colours: NDArray[np.float32], centres: NDArray[np.float64]
    ) -> None:
        """Draw another scan: points and colours [N, 3], centres [Q, 3] of its queried voxels."""
        self._xyz, self._all_shown = np.ascontiguousarray(xyz, np.float32), True
        for name in ("cloud", "boxes", "pins"):
            if self._scene.has_geometry(name):
                self._scene.remove_geometry(name)
        if len(xyz):
            self._add("cloud", self._xyz, colours)
        if len(centres):
            tops = self.pins(centres)
            stems = np.stack([centres, tops], 1)
            lines = _lines(np.concatenate([box_edges(centres, self._size), stems]))
            lines.paint_uniform_color(BOX)
            self._scene.add_geometry("boxes", lines, _line_material((1, 1, 1, 1), 2))
            self._add("pins", tops.astype(np.float32))

    def recolour(self, colours: NDArray[np.float32], pins: NDArray[np.float32]) -> None:
        """New colours of the points [N, 3] and of the heads of the pins [Q, 3]."""
        self._update("cloud", colours=colours)
        self._update("pins", colours=pins)

    def hide(self, hidden: NDArray[np.bool_] | None) -> None:
        """Draw all points but the hidden [N]; None: all."""
        if hidden is not None:
            self._update("cloud", np.where(hidden[:, None], _AWAY, self._xyz))
        elif not self._all_shown:
            self._update("cloud", self._xyz)
        self._all_shown = hidden is None

    def focus(
        self,
        points: NDArray[np.float32],
        colours: NDArray[np.float32],
        centre: NDArray[np.float64] | None,
    ) -> None:
        """Enlarge the points [n, 3] of the current voxel and frame it; None: there is none."""
        if len(points) > ENLARGED:  # the others are drawn at the common size
            chosen = np.linspace(0, len(points) - 1, ENLARGED).astype(int)
            points, colours = points[chosen], colours[chosen]
        self._fill("current", points, colours, ENLARGED)
        self._scene.show_geometry("box", centre is not None)
        if centre is not None:
            transform = np.diag([self._size, self._size, self._size, 1.0])
            transform[:3, 3] = centre
            self._scene.set_geometry_transform("box", transform)

    def show_near(self, points: NDArray[np.float32], colours: NDArray[np.float32]) -> None:
        """Draw the points [M, 3] of answers nearby, the first `NEAR` of them, a little larger."""
        self._fill("near", points[:NEAR], colours[:NEAR], NEAR)

    def pins(self, centres: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the heads of the pins are, [Q, 3]."""
        return centres + [0, 0, PIN]

    def set_point_size(self, size: int) -> None:
        """Pixels of a point; those of the current voxel stay larger."""
        self.point_size = size
        for name in self._clouds.keys() & {"cloud", "near", "current", "pins"}:
            if self._scene.has_geometry(name):
                self._scene.modify_geometry_material(name, self._point_material(name))

    def set_background(self, colour: tuple[float, float, float, float]) -> None:
        self._scene.set_background(list(colour))

    def _add(
        self, name: str, xyz: NDArray[np.float32], colours: NDArray[np.float32] | None = None
    ) -> None:
        cloud = o3d.t.geometry.PointCloud()
        cloud.point.positions = o3d.core.Tensor(np.ascontiguousarray(xyz, np.float32))
        colours = np.ones_like(xyz) if colours is None else colours
        cloud.point.colors = o3d.core.Tensor(np.ascontiguousarray(colours, np.float32))
        self._clouds[name] = cloud
        self._scene.add_geometry(name, cloud, self._point_material(name))

    def _fill(
        self, name: str, points: NDArray[np.float32], colours: NDArray[np.float32], count: int
    ) -> None:
        """Place up to `count` points of a cloud that has so many; the others are not drawn."""
        shown, painted = np.tile(_AWAY, (count, 1)), np.zeros((count, 3), np.float32)
        shown[: len(points)], painted[: len(points)] = points, colours
        self._update(name, shown, painted)

    def _update(
        self,
        name: str,
        xyz: NDArray[np.float32] | None = None,
        colours: NDArray[np.float32] | None = None,
    ) -> None:
        """In place. Another number of points than was added crashes Open3D: our own invariant."""
        if not self._scene.has_geometry(name):
            return
        cloud, flags = self._clouds[name], 0
        for values, key, flag in (
            (xyz, "positions", rendering.Scene.UPDATE_POINTS_FLAG),
            (colours, "colors", rendering.Scene.UPDATE_COLORS_FLAG),
        ):
            if values is not None:
                assert values.shape == cloud.point[key].shape, (name, key, values.shape)
                tensor = o3d.core.Tensor(np.ascontiguousarray(values, np.float32))
                cloud.point[key] = tensor
                self._uploads[name].append(tensor)
                flags |= flag
        self._scene.scene.update_geometry(name, cloud, flags)

    def _point_material(self, name: str) -> rendering.MaterialRecord:
        material = rendering.MaterialRecord()
        material.shader = "defaultUnlit"
        larger = {"cloud": 0, "near": 2, "current": 5, "pins": 7}[name]
        material.point_size = self.point_size + larger
        return material


def _lines(segments: NDArray[np.float64]) -> o3d.geometry.LineSet:
    """Line segments [S, 2, 3]."""
    return o3d.geometry.LineSet(
        o3d.utility.Vector3dVector(segments.reshape(-1, 3)),
        o3d.utility.Vector2iVector(np.arange(2 * len(segments), dtype=np.int32).reshape(-1, 2)),
    )


def _line_material(colour: tuple[float, ...], width: float) -> rendering.MaterialRecord:
    material = rendering.MaterialRecord()
    material.shader = "unlitLine"
    material.base_color = list(colour)
    material.line_width = width
    return material
