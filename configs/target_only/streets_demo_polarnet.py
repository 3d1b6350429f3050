# Target-only: every label of the target. Longer than AL, so that it is a reference.
_base_ = [
    "../_base_/data/streets.py",
    "../_base_/models/polarnet_tiny.py",
    "../_base_/schedules/demo.py",
]
setting = "target_only"
schedule = dict(epochs=15, optimizer=dict(lr=0.01))
