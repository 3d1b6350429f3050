# Source-only: the network that ASFDA and ADA start from, and the lower reference.
_base_ = "../schedules/published.py"
setting = "source_only"
schedule = dict(epochs=10)
