"""The coordinate reference system of a LAS file: its units, by GeoTIFF keys or WKT (pyproj)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotator3d.data.formats.units import Stated, unit_name
from annotator3d.errors import shortened

if TYPE_CHECKING:
    import laspy
    import pyproj

# Keys of GeoTIFF, https://docs.ogc.org/is/19-008r4/19-008r4.html
_MODEL, _GEOGRAPHIC, _PROJECTED, _VERTICAL = 1024, 2048, 3072, 4096
_LENGTH_UNIT, _LENGTH_SIZE, _HEIGHT_UNIT = 3076, 3077, 4099
_KINDS = {1: "metric", 2: "geographic", 3: "geocentric"}  # of the model
_EPSG = range(1024, 32767)  # values of keys that are codes of EPSG
_DIRECTORY = 34735  # the record that holds the keys
_DOUBLES = 34736  # the record that holds numbers that are no integers


def stated_by(las: laspy.LasData) -> Stated | None:
    """What the header of a LAS file states about its coordinates; None: nothing."""
    records = [*las.header.vlrs, *(las.evlrs or [])]
    texts = [r.string for r in records if type(r).__name__ == "WktCoordinateSystemVlr"]
    texts = [text for text in (t.strip("\0 \n") for t in texts) if text]
    keys = [_keys(r, records) for r in records if type(r).__name__ == "GeoKeyDirectoryVlr"]
    keys = [found for found in keys if found]
    if not texts and not keys and any(_is_damaged(record) for record in records):
        return Stated("GeoTIFF keys", "unknown")
    try:
        if texts and (las.header.global_encoding.wkt or not keys):
            return _of_text(texts[0])
        return _of_keys(keys[0]) if keys else None
    except _UnreadError as error:
        return Stated(str(error), "unread")


def _keys(record: object, records: list) -> dict[int, float]:
    """Key -> value of those with a number."""
    doubles = next((r.doubles for r in records if type(r).__name__ == "GeoDoubleParamsVlr"), [])
    found: dict[int, float] = {}
    for key in record.geo_keys:
        if key.tiff_tag_location == 0:
            found[key.id] = key.value_offset
        elif key.tiff_tag_location == _DOUBLES and key.value_offset < len(doubles):
            found[key.id] = doubles[key.value_offset].value
    return found


def _is_damaged(record: object) -> bool:
    """Whether it is a directory of GeoTIFF keys, of which none could be read."""
    if (record.user_id, record.record_id) != ("LASF_Projection", _DIRECTORY):
        return False
    return bool(record.record_data_bytes())


def _of_keys(keys: dict[int, float]) -> Stated | None:
    code = next((int(keys[k]) for k in (_PROJECTED, _GEOGRAPHIC) if keys.get(k) in _EPSG), None)
    kind = _KINDS.get(keys.get(_MODEL, 0))
    if kind is None and code is None and _LENGTH_UNIT not in keys and _HEIGHT_UNIT not in keys:
        return None
    length, height = keys.get(_LENGTH_UNIT), keys.get(_HEIGHT_UNIT)
    horizontal = keys.get(_LENGTH_SIZE) if length == 32767 else _unit_of(length)
    vertical = _unit_of(height)
    if vertical is None and keys.get(_VERTICAL) in _EPSG and (crs := _epsg(keys[_VERTICAL])):
        vertical = _of_crs(crs).vertical
    name = f"EPSG:{code}" if code else "user-defined, by GeoTIFF keys"
    if kind in ("geographic", "geocentric"):
        crs = _epsg(code) if code else None
        return Stated(f"{name}, {crs.name}" if crs else name, kind, None, vertical)
    if horizontal is None and (odd := _not_known(keys, kind)):
        return Stated(odd, "unknown", None, vertical)
    if code is None:
        return Stated(name, "metric", horizontal, vertical)
    if (crs := _epsg(code, needed=horizontal is None)) is None:
        return Stated(name, "unknown" if horizontal is None else "metric", horizontal, vertical)
    by_code = _of_crs(crs)
    heights = by_code.vertical if vertical is None else vertical
    name = f"{name}, {crs.name}"
    if by_code.kind == "metric" and None not in (horizontal, by_code.horizontal):
        if abs(horizontal / by_code.horizontal - 1) > 1e-9:
            name += f" with {unit_name(horizontal)} by key {_LENGTH_UNIT}"
            return Stated(name, "contradictory")
    return Stated(name, by_code.kind, horizontal or by_code.horizontal, heights)


def _not_known(keys: dict[int, float], kind: str | None) -> str:
    """A unit of length, or a projected system, that is stated and that EPSG does not have."""
    length, system = keys.get(_LENGTH_UNIT, 0), keys.get(_PROJECTED, 0)
    if length and (system or kind == "metric"):
        return f"unit {length:g} by key {_LENGTH_UNIT}"
    return "" if system in (0, 32767) or system in _EPSG else f"EPSG:{system:g}"


def _of_text(text: str) -> Stated:
    pyproj = _pyproj(f"WKT {shortened(text, 40)}")
    try:
        return _of_crs(pyproj.CRS.from_user_input(text))
    except pyproj.exceptions.CRSError:
        return Stated(shortened(" ".join(text.split()), 40), "unknown")


def _of_crs(crs: pyproj.CRS) -> Stated:
    parts = [p.source_crs if p.is_bound else p for p in (crs.sub_crs_list or [crs])]
    parts = [q for p in parts for q in (p.sub_crs_list or [p])]
    flat = [p for p in parts if not p.is_vertical]
    heights = [p.axis_info[0] for p in parts if p.is_vertical and p.axis_info]
    axes = flat[0].axis_info if flat else []
    heights += axes[2:3]
    vertical = heights[0].unit_conversion_factor if heights else None
    if flat and flat[0].is_geocentric:
        return Stated(crs.name, "geocentric", None, None)
    if flat and flat[0].is_geographic:
        return Stated(crs.name, "geographic", None, vertical)
    horizontal = axes[0].unit_conversion_factor if axes else None
    return Stated(crs.name, "metric", horizontal or None, vertical or None)


def _unit_of(code: float | None) -> float | None:
    """Metres of EPSG's unit of length; None: it has no such unit, or none is given."""
    common = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937}
    if code is None or code in common or code not in _EPSG:
        return common.get(code)
    units = _pyproj(f"unit EPSG:{int(code)}").database.get_units_map("EPSG", "linear")
    return next((u.conv_factor for u in units.values() if u.code == str(int(code))), None)


def _epsg(code: float, needed: bool = False) -> pyproj.CRS | None:
    """EPSG's system of this number; None: there is none (or no pyproj, if it is not `needed`)."""
    try:
        pyproj = _pyproj(f"EPSG:{int(code)}")
        return pyproj.CRS.from_epsg(int(code))
    except _UnreadError:
        if needed:
            raise
        return None
    except pyproj.exceptions.CRSError:
        return None


def _pyproj(what: str):
    try:
        import pyproj
        import pyproj.database
        import pyproj.exceptions
    except ImportError:
        raise _UnreadError(what) from None
    return pyproj


class _UnreadError(Exception):
    """What only pyproj knows, which is not installed."""
