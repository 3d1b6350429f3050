# SemanticKITTI -> nuScenes-lidarseg, 7 classes.
data = dict(
    source=dict(type="SemanticKITTI", split="train", taxonomy="semantickitti7"),
    train=dict(type="NuScenes", split="train", taxonomy="nuscenes7"),
    val=dict(type="NuScenes", split="val", taxonomy="nuscenes7"),
)
