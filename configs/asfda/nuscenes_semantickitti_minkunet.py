# ASFDA, nuScenes -> SemanticKITTI, MinkUNet.
_base_ = [
    "../_base_/settings/asfda.py",
    "../_base_/data/nuscenes_semantickitti.py",
    "../_base_/models/minkunet.py",
]
