# 5 rounds of 1 voxel a scan in 6 epochs (ADA: 9). The scans are coarse, so the voxels are 0.5 m:
# they hold about as many points as those of 0.25 m in a full scan.
schedule = dict(
    epochs=6,
    batch_size=2,
    source_batch_size=1,
    optimizer=dict(type="AdamW", lr=0.02, weight_decay=0.01),
    source_until=6,
)
active = dict(rounds_at=[0, 1, 2, 3, 4], voxel_size=0.5)
device = "cpu"  # the demo shows the same on every machine
