# Target-only, simulated streets -> SemanticKITTI, SPVCNN.
_base_ = [
    "../_base_/settings/target_only.py",
    "../_base_/data/streets_to_semantickitti.py",
    "../_base_/models/spvcnn.py",
]
