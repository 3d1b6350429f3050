# Source-only, SynLiDAR -> SemanticPOSS, SalsaNext.
_base_ = [
    "../_base_/settings/source_only.py",
    "../_base_/data/synlidar_semanticposs.py",
    "../_base_/models/salsanext_synlidar_semanticposs.py",
]
