# Source-only: the network that ASFDA and ADA start from.
_base_ = [
    "../_base_/data/streets.py",
    "../_base_/models/salsanext_tiny.py",
    "../_base_/schedules/demo.py",
]
setting = "source_only"
schedule = dict(epochs=25, source_until=25, optimizer=dict(lr=0.01))
