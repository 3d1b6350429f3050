# Active domain adaptation: source scans are used too; --init gives the source checkpoint. The
# learning rate is 0.01 x the batch of the target.
_base_ = "../schedules/published.py"
setting = "ada"
schedule = dict(
    batch_size=8,
    reference_batch=8,
    optimizer=dict(type="SGD", lr=0.08, momentum=0.9, weight_decay=1e-4),
)
