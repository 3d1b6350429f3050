# AL, SynLiDAR -> SemanticPOSS, SalsaNext; 10 voxels a scan in 5 rounds.
_base_ = [
    "../_base_/settings/al.py",
    "../_base_/data/synlidar_semanticposs.py",
    "../_base_/models/salsanext_semanticposs.py",
]
active = dict(queries_per_scan=2)
