"""Values that a config gives and a run has no use for."""

from __future__ import annotations

from annotator3d.engine.config.schema import ActiveConfig, RunConfig
from annotator3d.errors import in_yaml


def unused_values(config: RunConfig) -> list[str]:
    """What a training, or a round of questions, does not use, one sentence each.

    No error: one table of overrides may be meant for runs of several settings.
    """
    active, usual, found = config.active, ActiveConfig(), []
    if not config.is_active:
        return found
    if config.setting != "al" and active.first_round != usual.first_round:
        found.append(
            f"active.first_round is {in_yaml(active.first_round)}, and is not used: "
            f"{config.setting} starts from a trained network, and asks by active.strategy at once"
        )
    if active.queries_per_hour is not None:
        found.append(
            f"active.queries_per_hour is {active.queries_per_hour}, and is not used: it is the "
            "budget of a stream (select --stream); a round has active.queries_per_scan"
        )
    return found
