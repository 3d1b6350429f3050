# ADA, SemanticKITTI -> nuScenes, SPVCNN.
_base_ = [
    "../_base_/settings/ada.py",
    "../_base_/data/semantickitti_nuscenes.py",
    "../_base_/models/spvcnn.py",
]
