# Source-only, nuScenes -> SemanticKITTI, SPVCNN.
_base_ = [
    "../_base_/settings/source_only.py",
    "../_base_/data/nuscenes_semantickitti.py",
    "../_base_/models/spvcnn.py",
]
