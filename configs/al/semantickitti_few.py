# Active learning from scratch.
_base_ = [
    "../_base_/data/streets_to_few.py",
    "../_base_/models/minkunet_tiny.py",
    "../_base_/schedules/few.py",
]
setting = "al"
