# ASFDA, SynLiDAR -> SemanticPOSS, MinkUNet.
_base_ = [
    "../_base_/settings/asfda.py",
    "../_base_/data/synlidar_semanticposs.py",
    "../_base_/models/minkunet.py",
]
