# Active domain adaptation: source scans are used too; --init gives the source checkpoint.
_base_ = [
    "../_base_/data/streets_to_semantickitti.py",
    "../_base_/models/minkunet.py",
    "../_base_/schedules/published.py",
]
setting = "ada"
schedule = dict(
    batch_size=8,
    optimizer=dict(type="SGD", lr=0.08, momentum=0.9, weight_decay=1e-4),
)
