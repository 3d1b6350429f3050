# For a few scans on CPU: 5 rounds of 1 voxel a scan in 12 epochs.
schedule = dict(
    epochs=12,
    batch_size=2,
    source_batch_size=1,
    optimizer=dict(type="AdamW", lr=0.02, weight_decay=0.01),
    source_until=12,
    evaluate_at=[],
)
active = dict(rounds_at=[0, 2, 4, 6, 8])
