# Target-only, SynLiDAR -> SemanticKITTI, SPVCNN.
_base_ = [
    "../_base_/settings/target_only.py",
    "../_base_/data/synlidar_semantickitti.py",
    "../_base_/models/spvcnn.py",
]
