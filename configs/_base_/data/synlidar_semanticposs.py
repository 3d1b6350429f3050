# SynLiDAR -> SemanticPOSS, 13 classes.
data = dict(
    source=dict(type="SynLiDAR", split="train", split_seed=0, taxonomy="synlidar13"),
    train=dict(type="SemanticPOSS", split="train", taxonomy="semanticposs13"),
    val=dict(type="SemanticPOSS", split="val", taxonomy="semanticposs13"),
)
