# A simulated person who works with care (docs/costs.md); SemanticKITTI's 19 classes.
active = dict(
    oracle=dict(
        type="noisy",
        border=0.1,
        dominant=0.1,
        range=0.05,
        unsure=0.02,
        confusion=dict(
            truck={"other-vehicle": 0.05},
            road=dict(parking=0.03, sidewalk=0.02),
            sidewalk=dict(road=0.03, terrain=0.02),
            terrain=dict(vegetation=0.03, sidewalk=0.02),
            trunk=dict(pole=0.03, vegetation=0.02),
            fence=dict(vegetation=0.03, building=0.02),
        ),
    )
)
