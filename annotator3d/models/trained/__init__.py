"""Trained networks that come with the package, each with its card beside it (``.md``).

They hold weights and no code. May import nothing of ours.
"""

from __future__ import annotations

from pathlib import Path

START = Path(__file__).with_name("start_tiny.safetensors")


def start_network() -> Path | None:
    """The network that ``annotator3d start`` begins with; None: this installation lacks it."""
    return START if START.is_file() else None
