# 50 epochs, 5 rounds of 1 voxel a scan before epochs 0, 3, 6, 9, 12: all of it is the default.
schedule = dict(epochs=50)
