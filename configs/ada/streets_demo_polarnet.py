# Active domain adaptation: source scans are used too; --init gives the source checkpoint.
_base_ = [
    "../_base_/data/streets.py",
    "../_base_/models/polarnet_tiny.py",
    "../_base_/schedules/demo.py",
]
setting = "ada"
schedule = dict(epochs=9, source_until=9, optimizer=dict(lr=0.01))
