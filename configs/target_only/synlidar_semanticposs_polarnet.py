# Target-only, SynLiDAR -> SemanticPOSS, PolarNet.
_base_ = [
    "../_base_/settings/target_only.py",
    "../_base_/data/synlidar_semanticposs.py",
    "../_base_/models/polarnet.py",
]
