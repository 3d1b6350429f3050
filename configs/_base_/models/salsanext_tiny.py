# For two CPU cores and the coarse scans of the simulated streets.
model = dict(
    backbone=dict(
        type="SalsaNext",
        height=32,
        width=360,
        planes=[16, 32, 32, 32, 16],
        dropout=0.05,
        window=3,
        neighbours=3,
    )
)
