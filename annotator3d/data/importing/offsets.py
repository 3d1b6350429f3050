"""One rule for a sequence: an offset is subtracted from all of its scans or from none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from annotator3d.data.importing.convert import Converted
from annotator3d.data.importing.rules import ALWAYS, NEAR, Rules
from annotator3d.data.importing.sources import Source

Again = Callable[[Source, Rules], Converted]


def settle(
    sources: Sequence[Source], scans: Sequence[Converted], rules: Rules, again: Again
) -> list[Converted]:
    """The scans, in their order, with those converted again that differ from their sequence.

    What most scans of a sequence need counts: a single one with all its points far away is damaged
    or of another place.

    Args:
        again: converts a scan by other rules.

    Raises:
        ValueError: such a scan lies so far away that float32 cannot hold it; it is named.
    """
    if rules.offset != "auto":
        return list(scans)
    settled = {scan.id: scan for scan in scans}
    for name in dict.fromkeys(source.sequence for source in sources):
        own = [source for source in sources if source.sequence == name]
        full = [source for source in own if settled[source.id].low]
        far = [source for source in full if settled[source.id].offset is not None]
        if not far or len(far) == len(full):
            continue
        most_far = 2 * len(far) >= len(full)
        word = ALWAYS if most_far else NEAR
        for source in full:
            if (source in far) != most_far:
                settled[source.id] = again(source, replace(rules, offset=word))
    return [settled[source.id] for source in sources]
