# The published point-voxel network at 0.05 m: 21.8 M parameters. All of it is the default.
model = dict(backbone=dict(type="SPVCNN"))
