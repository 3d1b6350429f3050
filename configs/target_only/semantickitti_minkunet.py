# Target-only: every label of the target, the upper bound.
_base_ = [
    "../_base_/data/streets_to_semantickitti.py",
    "../_base_/models/minkunet.py",
    "../_base_/schedules/published.py",
]
setting = "target_only"
schedule = dict(epochs=10)
