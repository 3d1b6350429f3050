# 50 epochs, 5 rounds of 1 voxel a scan before epochs 0, 3, 6, 9, 12: all of it is the default. The
# learning rate is for 16 scans an update, however they are dealt out.
schedule = dict(epochs=50, reference_batch=16)
