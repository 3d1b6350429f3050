# Active source-free domain adaptation: --init gives the source checkpoint.
_base_ = [
    "../_base_/data/streets_to_semantickitti.py",
    "../_base_/models/minkunet.py",
    "../_base_/schedules/published.py",
]
setting = "asfda"
