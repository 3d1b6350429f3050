"""What every dataset is: an ordered list of scans, and how one is read."""

from __future__ import annotations

import hashlib
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.datasets.listing import absent
from annotator3d.data.extent import REACH
from annotator3d.data.formats.kitti import read_bin, read_label
from annotator3d.data.left_out import NO_INTENSITY, NO_RETURN
from annotator3d.data.scan import Scan
from annotator3d.data.taxonomy import Taxonomy, load_taxonomy
from annotator3d.errors import count, in_yaml, nearest

Labels = Literal["required", "optional"]
Intensity = Literal["unit", "raw"]
PathLike = str | os.PathLike[str]


class ScanDataset(ABC):
    """A fixed, ordered list of scans.

    A data set is one file in this folder with a subclass that registers itself in ``DATASETS``. The
    subclass fills `ids` (unique, ``"sequence/frame"``), `root` and `taxonomy`, and says where the
    files of a scan are. One whose files are not SemanticKITTI's also reads them; where the size of
    a file does not tell its number of points, `POINT_BYTES` is 0. With `matches`,
    ``annotator3d check`` recognises its folder.

    Args:
        root: folder of the dataset.
        taxonomy: name or path of a class map; None: `TAXONOMY`.
        labels: 'optional' reads a scan without a label file as unlabelled; 'required' refuses.
        intensity: 'unit' brings intensities to 0..1 by dividing by `intensity_max`, so that one
            network can read two datasets; 'raw' leaves them as they are stored (published).
    """

    TAXONOMY: ClassVar[str] = "semantickitti19"
    INTENSITY_MAX: ClassVar[float] = 1.0
    POINT_BYTES: ClassVar[int] = 16
    LABEL_BYTES: ClassVar[int] = 4
    makes_itself: ClassVar[bool] = False  # True: needs no root, its scans are generated
    KNOWN_BY: ClassVar[str] = ""  # what `matches` looks for, in words for messages
    GENERIC: ClassVar[bool] = False  # True: a folder that another data set matches is that one's

    ids: list[str]
    root: Path
    taxonomy: Taxonomy
    notices: tuple[str, ...] = ()  # what its import left out, guessed or changed
    records_stated: bool = False  # True: the shape of the points is known and not to be guessed
    drawn: str = ""  # how the scans were drawn at random; empty: they were not
    quarantined: Mapping[str, str] = MappingProxyType({})  # scans left out: id -> why
    _told: frozenset[str] = frozenset()  # kinds of points that were warned of
    _labels: Labels = "required"
    _intensity: Intensity = "unit"

    def __init__(
        self,
        root: PathLike,
        taxonomy: PathLike | None = None,
        labels: Labels = "required",
        intensity: Intensity = "unit",
    ) -> None:
        check_choice("labels", labels, ("required", "optional"))
        check_choice("intensity", intensity, ("unit", "raw"))
        self.root = Path(root)
        self.taxonomy = load_taxonomy(self.TAXONOMY if taxonomy is None else taxonomy)
        self._labels, self._intensity = labels, intensity

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Whether a folder holds this data set, by the names in it alone.

        Only what a class says itself counts (`open_folder`), not what it inherits.
        """
        return False

    @classmethod
    def open_parts(cls, root: Path, taxonomy: PathLike | None) -> list[ScanDataset]:
        """Everything in a folder that matches, each part as a data set; labels may be missing."""
        return [cls(root, taxonomy=taxonomy, labels="optional")]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, which: int | str) -> Scan:
        """A scan by its position (negative: from the end) or by its id.

        Raises IndexError for a position and ValueError for an id that the dataset does not hold.
        """
        if isinstance(which, str):
            return self.read(self.index(which))
        try:
            return self.read(range(len(self))[which])
        except IndexError:
            raise IndexError(f"scan {which} of a dataset of {len(self)} scans") from None

    @classmethod
    def taxonomy_for(cls, keywords: Mapping[str, Any]) -> PathLike:
        """Name or path of the class map that a dataset with these keywords has."""
        return keywords.get("taxonomy") or cls.TAXONOMY

    @abstractmethod
    def path(self, i: int) -> Path:
        """The file of the points of scan ``i``."""

    @abstractmethod
    def label_path(self, i: int) -> Path:
        """The file of the labels of scan ``i``, which need not exist."""

    def num_points(self, i: int) -> int:
        """Points in the file of scan ``i``, from its size where that tells."""
        if self.POINT_BYTES:
            return os.stat(self.path(i)).st_size // self.POINT_BYTES
        return len(self.read_points(i)[0])

    def read_points(self, i: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Every raw point of scan ``i`` as stored: xyz [N, 3] metres, intensity [N]."""
        return read_bin(self.path(i))

    def read_ring(self, i: int, xyz: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """The sensor's row [N] of each raw point, xyz [N, 3], of scan ``i``; None: not stored.

        Rows count from 0, the highest beam. Only range images need them, so that what is no row is
        not refused here, but is NaN.
        """
        return None

    def intensity_max(self, i: int) -> float:
        """The stored intensity of scan ``i`` that becomes 1."""
        return self.INTENSITY_MAX

    def read_raw_labels(self, i: int, num_points: int) -> NDArray[np.unsignedinteger]:
        """The raw ids [num_points] of scan ``i``, instance bits included.

        Raises ValueError when the file is truncated or holds another number of labels.
        """
        return read_label(self.label_path(i), num_points, scan_path=self.path(i))

    def read(self, i: int, labels: bool = True) -> Scan:
        """Read scan ``i``, without labels if ``labels`` is False."""
        xyz, intensity = self.read_points(i)
        if self._intensity == "unit" and (scale := self.intensity_max(i)) != 1:
            intensity /= np.float32(scale)
        train = self._read_labels(i, len(xyz)) if labels else None
        ring = self.read_ring(i, xyz)
        scan = Scan.from_raw(self.ids[i], xyz, intensity, train, ring)
        self._tell_once(NO_RETURN, len(scan.no_return), scan, i)
        self._tell_once(NO_INTENSITY, len(scan.no_intensity), scan, i)
        if bad := scan.num_dropped - len(scan.no_return):
            warnings.warn(  # Python shows each message once
                f"{self.path(i)}: {bad} of {scan.num_raw} points are not finite, or "
                f"farther than {REACH / 1000:,.0f} km; they are never asked about or trained on, "
                "and count as missed in the evaluation",
                RuntimeWarning,
                stacklevel=2,
            )
        self._check_intensity(scan, i)
        return scan

    def _read_labels(self, i: int, num_points: int) -> NDArray[np.uint8] | None:
        path = self.label_path(i)
        if self._labels == "optional" and not path.is_file():
            return None
        return self.taxonomy.to_train(self.read_raw_labels(i, num_points), path)

    def _tell_once(self, words: str, number: int, scan: Scan, i: int) -> None:
        """Say what happens to points at the first scan: a sensor may have such points in each."""
        if not number or words in self._told:
            return
        self._told |= {words}
        warnings.warn(
            f"{self.path(i)}: {number:,} of {count(scan.num_raw, 'point')} {words}; so are those "
            "of the scans that follow (a round of selection and `annotator3d check` count all)",
            RuntimeWarning,
            stacklevel=3,
        )

    def _check_intensity(self, scan: Scan, i: int) -> None:
        """Say once that a file's scale is not what this class takes it to be."""
        if self._intensity == "raw" or not len(scan) or scan.intensity.max() <= 1:
            return
        warnings.warn(
            f"{type(self).__name__} in {self.root}: intensities are taken to be stored as 0 to "
            f"{self.intensity_max(i):g}, but some are larger; bring them to that scale, or pass "
            "intensity='raw' to train on them as they are",
            RuntimeWarning,
            stacklevel=3,
        )

    def index(self, scan_id: str) -> int:
        """Position of a scan; ValueError if the dataset does not hold it."""
        try:
            return self._positions[scan_id]
        except KeyError:
            raise ValueError(
                f"there is no scan {scan_id!r} among the {count(len(self), 'scan')}"
            ) from None

    def fingerprint(self) -> str:
        """``"blake2b:<hex>"`` of ids and file sizes; the contents are not read."""
        digest = hashlib.blake2b(digest_size=16)
        for i, scan_id in enumerate(self.ids):
            digest.update(f"{scan_id} {os.stat(self.path(i)).st_size}\n".encode())
        return f"blake2b:{digest.hexdigest()}"

    def leave_out(self, reasons: Mapping[str, str]) -> None:
        """Take scans away: id -> why, which `quarantined` tells from then on."""
        self._keep([i for i, scan_id in enumerate(self.ids) if scan_id not in reasons])
        self.quarantined = {**self.quarantined, **reasons}

    def _keep(self, rows: Sequence[int]) -> None:
        """Go on with these scans only, in the order given."""
        self._set_ids([self.ids[i] for i in rows])

    def _set_ids(self, ids: Sequence[str]) -> None:
        self.ids = list(ids)
        self._positions = {scan_id: i for i, scan_id in enumerate(self.ids)}

    def _check_labels(self) -> None:
        """Refuse missing labels now, not after hours of training."""
        if self._labels == "optional":
            return
        if missing := absent(self.label_path(i) for i in range(len(self))):
            raise FileNotFoundError(
                f"{len(missing)} of {len(self)} scans have no label file, the first is "
                f"{missing[0]}; where a person answers (active.oracle=person) training scans need "
                "none, elsewhere open the dataset with labels='optional'"
            )


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``known``."""
    if value not in known:
        choices = " or ".join(map(repr, known))
        hint = nearest(str(value), known)
        raise ValueError(f"{name} must be {choices}, got {in_yaml(value)}; {hint}")
