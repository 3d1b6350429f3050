# Source-only: the network that ASFDA and ADA start from.
_base_ = [
    "../_base_/data/streets_to_semantickitti.py",
    "../_base_/models/minkunet.py",
    "../_base_/schedules/published.py",
]
setting = "source_only"
schedule = dict(epochs=10)
