# For two CPU cores.
model = dict(
    voxel_size=0.3,
    features="mean",
    backbone=dict(type="MinkUNet", planes=[16, 16, 32, 32, 32, 16, 16], blocks=1),
)
