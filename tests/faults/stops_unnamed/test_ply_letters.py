"""Letters beyond ASCII in the header of a PLY file do no harm."""

from __future__ import annotations

import numpy as np
import pytest
from source_scans import points, run_import, stored, write_ply, write_taxonomy

COMMENTS = {
    "UTF-8": "comment Stra\u00dfe \u9053".encode(),
    "Latin-1": b"comment Stra\xdfe",
    "information": "obj_info H\u00f6he".encode(),
}


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("comment", COMMENTS)
def test_comments_hold_any_letters(tmp_path, comment, text):
    (tmp_path / "src").mkdir()
    p, path = points(0), tmp_path / "src" / "a.ply"
    write_ply(path, p, text=text)
    line = COMMENTS[comment] + b"\nelement"
    path.write_bytes(path.read_bytes().replace(b"element", line, 1))
    assert run_import(tmp_path / "src", tmp_path / "out", write_taxonomy(tmp_path)) == 0
    xyz, _, classes, _ = stored(tmp_path / "out", "00/000000")
    np.testing.assert_array_equal(xyz, p.xyz)
    np.testing.assert_array_equal(classes, p.label)
