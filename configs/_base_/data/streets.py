# Simulated streets only: an ideal sensor as source, an HDL-64E-like one as target. Nothing to
# download; `annotator3d demo` uses it. Coarse scans (32 x 360, a twelfth of the points of a real
# one), so that two CPU cores suffice.
_sensor = dict(type="SimulatedStreets", beams=32, azimuths=360)

data = dict(
    source=dict(**_sensor, domain="ideal", sequences=6, scans=12),
    train=dict(**_sensor, domain="hdl64", sequences=6, scans=10),
    val=dict(**_sensor, domain="hdl64", sequences=4, scans=4, first_sequence=20),
)
