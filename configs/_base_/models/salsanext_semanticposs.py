# SemanticPOSS alone: the 40 beams of its Pandora in their own rows, or by angle without tag files.
model = dict(backbone=dict(type="SalsaNext", height=40, width=1800, fov=[7.0, -16.0]))
