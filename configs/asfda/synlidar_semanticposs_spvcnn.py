# ASFDA, SynLiDAR -> SemanticPOSS, SPVCNN.
_base_ = [
    "../_base_/settings/asfda.py",
    "../_base_/data/synlidar_semanticposs.py",
    "../_base_/models/spvcnn.py",
]
