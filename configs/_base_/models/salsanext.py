# The published range image network, 64 x 2048: 6.7 M parameters. All of it is the default.
model = dict(backbone=dict(type="SalsaNext"))
