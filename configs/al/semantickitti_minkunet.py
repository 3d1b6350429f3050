# Active learning from scratch.
_base_ = [
    "../_base_/data/streets_to_semantickitti.py",
    "../_base_/models/minkunet.py",
    "../_base_/schedules/published.py",
]
setting = "al"
