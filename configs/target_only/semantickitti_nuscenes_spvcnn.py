# Target-only, SemanticKITTI -> nuScenes, SPVCNN.
_base_ = [
    "../_base_/settings/target_only.py",
    "../_base_/data/semantickitti_nuscenes.py",
    "../_base_/models/spvcnn.py",
]
