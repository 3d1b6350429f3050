# From a network to start from (--init) to your own scans, on a CPU too; see docs/own-data.md.
_base_ = [
    "../_base_/data/own_data.py",
    "../_base_/models/minkunet_tiny.py",
    "../_base_/schedules/few.py",
]
setting = "asfda"
schedule = dict(evaluate_at=None, optimizer=dict(lr=0.005))
