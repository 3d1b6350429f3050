# Source-only: the network that ASFDA and ADA start from.
_base_ = [
    "../_base_/data/streets_to_few.py",
    "../_base_/models/minkunet_tiny.py",
    "../_base_/schedules/few.py",
]
setting = "source_only"
schedule = dict(epochs=16, source_until=16)
