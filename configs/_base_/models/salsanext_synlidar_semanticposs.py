# Two sensors in one image: rows by angle, over what both see.
model = dict(backbone=dict(type="SalsaNext", fov=[7.0, -25.0], rows="angle"))
