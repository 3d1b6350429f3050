# Simulated streets as source and a handful of real scans as target, for CPUs (tools/two_folds.py).
data = dict(
    source=dict(
        type="SimulatedStreets", domain="ideal", sequences=8, scans=10, beams=64, azimuths=1024
    ),
    train=dict(type="SemanticKITTI", sequences=["00", "03", "06", "09"]),
    val=dict(type="SemanticKITTI", sequences=["02", "05", "07", "08"]),
)
