# ASFDA, SemanticKITTI -> nuScenes, MinkUNet.
_base_ = [
    "../_base_/settings/asfda.py",
    "../_base_/data/semantickitti_nuscenes.py",
    "../_base_/models/minkunet.py",
]
