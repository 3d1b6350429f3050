# A network to start from (`annotator3d pretrain`): simulated streets at the resolution of a real
# sensor, for a network that two CPU cores train.
_base_ = [
    "../_base_/data/streets_to_start_from.py",
    "../_base_/models/minkunet_tiny.py",
    "../_base_/schedules/few.py",
]
setting = "source_only"
schedule = dict(epochs=24, source_until=24, batch_size=4, ema=0.998)
