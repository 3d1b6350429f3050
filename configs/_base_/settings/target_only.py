# Target-only: every label of the target, the upper reference.
_base_ = "../schedules/published.py"
setting = "target_only"
schedule = dict(epochs=10)
