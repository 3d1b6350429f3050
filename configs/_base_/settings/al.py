# Active learning from scratch.
_base_ = "../schedules/published.py"
setting = "al"
