"""Finds viz/, which is at the top of a checkout; not part of an installed package.

Without this file `annotator3d.viz` would be missing when Python starts in a checkout, because the
folder there hides the installed package.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_folder = Path(__file__).resolve().parents[1] / "viz"
_spec = spec_from_file_location(
    __name__, _folder / "__init__.py", submodule_search_locations=[str(_folder)]
)
sys.modules[__name__] = module_from_spec(_spec)  # the import system takes it from there
_spec.loader.exec_module(sys.modules[__name__])
