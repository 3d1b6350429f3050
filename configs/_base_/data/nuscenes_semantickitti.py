# nuScenes-lidarseg -> SemanticKITTI, 7 classes.
data = dict(
    source=dict(type="NuScenes", split="train", taxonomy="nuscenes7"),
    train=dict(type="SemanticKITTI", split="train", taxonomy="semantickitti7"),
    val=dict(type="SemanticKITTI", split="val", taxonomy="semantickitti7"),
)
