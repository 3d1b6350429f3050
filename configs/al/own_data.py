# Active learning on your own scans, on a CPU too; see docs/own-data.md.
_base_ = [
    "../_base_/data/own_data.py",
    "../_base_/models/minkunet_tiny.py",
    "../_base_/schedules/few.py",
]
setting = "al"
schedule = dict(evaluate_at=None)  # before each later round: a run shows what each round brought
