# AL, SemanticKITTI -> nuScenes, SPVCNN.
_base_ = [
    "../_base_/settings/al.py",
    "../_base_/data/semantickitti_nuscenes.py",
    "../_base_/models/spvcnn.py",
]
