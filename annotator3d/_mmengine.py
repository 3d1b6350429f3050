"""The one door through which mmengine's runner and hooks enter.

They import cv2 for drawing, which nothing here does, and cv2 cannot be imported on a machine
without libGL. A stand-in takes its place there, so that training needs no graphics library.
"""

from __future__ import annotations

import logging
import sys
import types
import warnings
from importlib.machinery import ModuleSpec
from typing import Any, NoReturn

from annotator3d._yapf import load_yapf

__all__ = [
    "VISBACKENDS",
    "BaseModel",
    "BaseVisBackend",
    "DefaultSampler",
    "PARAM_SCHEDULERS",
    "EpochBasedTrainLoop",
    "Hook",
    "MMDistributedDataParallel",
    "Runner",
    "build_optim_wrapper",
]


def _stand_in_for_cv2(reason: Exception) -> types.ModuleType:
    def missing(name: str) -> NoReturn:
        raise AttributeError(f"cv2.{name} is not available: importing cv2 failed with {reason!r}")

    def set_num_threads(count: int) -> None:
        """mmengine calls this at the start of every run."""

    module: Any = types.ModuleType("cv2", "Stand-in: cv2 could not be imported.")
    module.__spec__ = ModuleSpec("cv2", loader=None)
    module.__version__ = "not importable"  # mmengine prints it
    module.setNumThreads = set_num_threads
    module.__getattr__ = missing
    return module


load_yapf()
with warnings.catch_warnings():
    # torch and mmengine warn about each other's deprecated functions; users can do nothing there.
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", FutureWarning)
    try:
        import cv2  # noqa: F401
    except Exception as error:  # whatever is broken in cv2 is no reason to stop
        sys.modules["cv2"] = _stand_in_for_cv2(error)
        logging.getLogger("annotator3d").debug("cv2 is replaced by a stand-in: %r", error)
    from mmengine.dataset import DefaultSampler
    from mmengine.hooks import Hook
    from mmengine.model import BaseModel, MMDistributedDataParallel
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import PARAM_SCHEDULERS, VISBACKENDS
    from mmengine.runner import EpochBasedTrainLoop, Runner
    from mmengine.visualization import BaseVisBackend
