# A network to start from (`annotator3d pretrain`): the published MinkUNet at 0.05 m; needs a GPU.
_base_ = ["../_base_/data/streets_to_start_from.py", "../_base_/models/minkunet.py"]
setting = "source_only"
schedule = dict(epochs=24, source_until=24, batch_size=4, evaluate_at=[])
