# The published network at 0.05 m: 21.7 M parameters. All of it is the default.
model = dict(backbone=dict(type="MinkUNet"))
