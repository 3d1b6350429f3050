"""The Open3D scene of one scan: points, voxels as boxes with pins, the current voxel enlarged.

While the queries of a scan are answered nothing is added or removed: colours, positions and
transforms change in place. (Open3D crashes after some 65,500 additions: isl-org/Open3D#7250.)
"""

from __future__ import annotations

import numpy as np
import open3d as o3d
from numpy.typing import NDArray
from open3d.visualization import rendering

from annotator3d.viz.views import PIN

ENLARGED = 4096  # most points of the current voxel that are drawn larger
_AWAY = np.float32([0, 0, -1e6])  # beyond the far plane: not drawn
_BOX = np.float32([[0.75, 0.75, 0.2]])
_CURRENT_BOX = (1.0, 0.25, 0.1, 1.0)

# Corners of a unit cube around 0, and its edges.
_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_EDGES = np.array([[a, a | bit] for bit in (1, 2, 4) for a in range(8) if not a & bit])


class ScanScene:
    """What a window or a picture shows of one scan.

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
        self._all_shown = True
        # Added at 0 and moved away after: the planes of the camera follow what was added.
        self._add("current", np.zeros((ENLARGED, 3), np.float32))
        self._update("current", np.tile(_AWAY, (ENLARGED, 1)))
        scene.scene.set_geometry_culling("current", False)  # its bounds stay those of 0
        box = _lines(_CORNERS * 1.06, _EDGES)
        scene.add_geometry("box", box, _line_material(_CURRENT_BOX, 4))
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
            corners = (_CORNERS[None] * self._size + centres[:, None]).reshape(-1, 3)
            edges = (_EDGES[None] + 8 * np.arange(len(centres))[:, None, None]).reshape(-1, 2)
            tops, stems = self.pins(centres), np.arange(len(centres))[:, None] * 2 + [0, 1]
            pins = np.stack([centres, tops], 1).reshape(-1, 3)
            lines = _lines(
                np.concatenate([corners, pins]), np.concatenate([edges, stems + len(corners)])
            )
            lines.paint_uniform_color(_BOX[0])
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
        shown, painted = np.tile(_AWAY, (ENLARGED, 1)), np.zeros((ENLARGED, 3), np.float32)
        shown[: len(points)], painted[: len(points)] = points, colours
        self._update("current", shown, painted)
        self._scene.show_geometry("box", centre is not None)
        if centre is not None:
            transform = np.diag([self._size, self._size, self._size, 1.0])
            transform[:3, 3] = centre
            self._scene.set_geometry_transform("box", transform)

    def pins(self, centres: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the heads of the pins are, [Q, 3]."""
        return centres + [0, 0, PIN]

    def set_point_size(self, size: int) -> None:
        """Pixels of a point; those of the current voxel stay larger."""
        self.point_size = size
        for name in self._clouds.keys() & {"cloud", "current", "pins"}:
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
                cloud.point[key] = o3d.core.Tensor(np.ascontiguousarray(values, np.float32))
                flags |= flag
        self._scene.scene.update_geometry(name, cloud, flags)

    def _point_material(self, name: str) -> rendering.MaterialRecord:
        material = rendering.MaterialRecord()
        material.shader = "defaultUnlit"
        material.point_size = self.point_size + {"cloud": 0, "current": 5, "pins": 7}[name]
        return material


def _lines(points: NDArray, edges: NDArray) -> o3d.geometry.LineSet:
    return o3d.geometry.LineSet(
        o3d.utility.Vector3dVector(np.asarray(points, np.float64)),
        o3d.utility.Vector2iVector(np.asarray(edges, np.int32)),
    )


def _line_material(colour: tuple[float, ...], width: float) -> rendering.MaterialRecord:
    material = rendering.MaterialRecord()
    material.shader = "unlitLine"
    material.base_color = list(colour)
    material.line_width = width
    return material
