# Source-only, SynLiDAR -> SemanticKITTI, MinkUNet.
_base_ = [
    "../_base_/settings/source_only.py",
    "../_base_/data/synlidar_semantickitti.py",
    "../_base_/models/minkunet.py",
]
