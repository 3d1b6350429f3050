# Active learning from scratch.
_base_ = [
    "../_base_/data/streets.py",
    "../_base_/models/polarnet_tiny.py",
    "../_base_/schedules/demo.py",
]
setting = "al"
schedule = dict(optimizer=dict(lr=0.01))
