# What `annotator3d import` has written, from --data-root.
data = dict(
    train=dict(type="OwnScans", split="train"),
    val=dict(type="OwnScans", split="val"),
)
