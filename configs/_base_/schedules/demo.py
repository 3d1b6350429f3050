# 5 rounds of 1 voxel a scan in 15 epochs.
schedule = dict(
    epochs=15,
    batch_size=2,
    optimizer=dict(type="AdamW", lr=0.02, weight_decay=0.01),
    source_until=15,
)
active = dict(rounds_at=[0, 2, 4, 6, 8])
