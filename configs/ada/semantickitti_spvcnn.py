# ADA, simulated streets -> SemanticKITTI, SPVCNN.
_base_ = [
    "../_base_/settings/ada.py",
    "../_base_/data/streets_to_semantickitti.py",
    "../_base_/models/spvcnn.py",
]
