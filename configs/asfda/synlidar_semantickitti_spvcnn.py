# ASFDA, SynLiDAR -> SemanticKITTI, SPVCNN.
_base_ = [
    "../_base_/settings/asfda.py",
    "../_base_/data/synlidar_semantickitti.py",
    "../_base_/models/spvcnn.py",
]
