# Active source-free domain adaptation: --init gives the source checkpoint.
_base_ = [
    "../_base_/data/streets.py",
    "../_base_/models/salsanext_tiny.py",
    "../_base_/schedules/demo.py",
]
setting = "asfda"
schedule = dict(optimizer=dict(lr=0.005))
