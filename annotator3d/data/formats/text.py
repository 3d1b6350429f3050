"""Numbers as programs write them into text."""

from __future__ import annotations

import re

_ODD = re.compile(rb"([-+]?)(?:1\.#(\w+)|nan\([^()\s]*\))", re.IGNORECASE)


def plain_numbers(text: bytes) -> bytes:
    """The text with ``nan`` and ``inf`` in place of what the C library of Windows prints for them.

    That is ``-nan(ind)``, ``nan(snan)``, ``1.#QNAN``, ``-1.#IND00``, ``1.#INF`` and, rounded to
    few digits, ``1.#J``.
    """
    if b"#" not in text and b"(" not in text:
        return text
    return _ODD.sub(_plain, text)


def _plain(found: re.Match[bytes]) -> bytes:
    infinite = (found[2] or b"").upper().startswith(b"INF")
    return found[1] + b"inf" if infinite else b"nan"
