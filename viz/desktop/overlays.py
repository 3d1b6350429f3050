"""What lies over the 3D view: the photo of the place and the help."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import open3d as o3d
from numpy.typing import NDArray
from open3d.visualization import gui
from PIL import Image

PHOTO_PIXELS = 256  # always the same, so that the texture is updated in place


class Overlays:
    """Widgets over the scene.

    Args:
        help_lines: the text of the help.
        em: size of the font in pixels.

    Attributes:
        photo, help: to be added to the window; `place` sets their frames.
    """

    def __init__(self, help_lines: Sequence[str], em: int) -> None:
        self._em = em
        blank = np.zeros((PHOTO_PIXELS, PHOTO_PIXELS, 3), np.uint8)
        self.photo = gui.ImageWidget(o3d.geometry.Image(blank))
        self.help = gui.ScrollableVert(0, gui.Margins(em, em, em, em))
        self.help.add_child(gui.Label("\n".join(help_lines)))
        self.help.background_color = gui.Color(0.1, 0.1, 0.12, 0.95)
        self.photo.visible = self.help.visible = False

    def show_photo(self, crop: NDArray[np.uint8] | None) -> None:
        """Show the camera's image of the voxel [H, W, 3] in a corner, or nothing."""
        self.photo.visible = crop is not None
        if crop is not None:
            pixels = np.asarray(Image.fromarray(crop).resize((PHOTO_PIXELS, PHOTO_PIXELS)))
            self.photo.update_image(o3d.geometry.Image(np.ascontiguousarray(pixels)))

    def place(self, scene: gui.Rect) -> None:
        """Lay out over the frame of the scene: the photo in the corner, the help over all."""
        em = self._em
        right, bottom = scene.get_right() - em, scene.get_bottom() - em
        self.photo.frame = gui.Rect(
            right - PHOTO_PIXELS, bottom - PHOTO_PIXELS, PHOTO_PIXELS, PHOTO_PIXELS
        )
        self.help.frame = gui.Rect(
            scene.x + em, scene.y + em, scene.width - 2 * em, scene.height - 2 * em
        )
