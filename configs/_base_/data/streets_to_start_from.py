# Streets as an HDL-64E sees them, at full resolution; tested on streets that were not trained on.
_sensor = dict(type="SimulatedStreets", domain="hdl64", beams=64, azimuths=2048)

data = dict(
    source=dict(**_sensor, sequences=40, scans=5),
    val=dict(**_sensor, sequences=8, scans=4, first_sequence=60),
)
