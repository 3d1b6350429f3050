# Simulated streets as source, SemanticKITTI (from --data-root) as target, with its official split.
data = dict(
    source=dict(
        type="SimulatedStreets", domain="ideal", sequences=20, scans=100, beams=64, azimuths=2048
    ),
    train=dict(
        type="SemanticKITTI",
        sequences=["00", "01", "02", "03", "04", "05", "06", "07", "09", "10"],
    ),
    val=dict(type="SemanticKITTI", sequences=["08"]),
)
