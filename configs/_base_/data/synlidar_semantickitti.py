# SynLiDAR -> SemanticKITTI, 19 classes.
data = dict(
    source=dict(type="SynLiDAR", split="train", split_seed=0, taxonomy="synlidar19"),
    train=dict(type="SemanticKITTI", split="train", taxonomy="semantickitti19"),
    val=dict(type="SemanticKITTI", split="val", taxonomy="semantickitti19"),
)
