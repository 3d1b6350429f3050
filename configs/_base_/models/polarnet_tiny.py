# For two CPU cores.
model = dict(
    backbone=dict(
        type="PolarNet",
        grid=[64, 64, 16],
        point_planes=[32, 32],
        planes=[32, 32, 64, 32, 32],
        dropout=0.0,
    )
)
