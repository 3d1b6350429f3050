# The published bird's-eye network, 480 x 360 x 32: 13.5 M parameters. All of it is the default.
model = dict(backbone=dict(type="PolarNet"))
