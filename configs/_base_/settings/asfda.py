# Active source-free domain adaptation: --init gives the source checkpoint.
_base_ = "../schedules/published.py"
setting = "asfda"
