# A simulated person who hurries and tires (docs/costs.md); SemanticKITTI's 19 classes.
active = dict(
    oracle=dict(
        type="noisy",
        border=0.3,
        dominant=0.5,
        range=0.2,
        fatigue=1.0,
        unsure=0.05,
        confusion=dict(
            car={"other-vehicle": 0.1},
            truck={"other-vehicle": 0.2, "car": 0.1},
            road=dict(parking=0.1, sidewalk=0.1),
            sidewalk=dict(road=0.1, terrain=0.1),
            terrain=dict(vegetation=0.1, sidewalk=0.1),
            trunk=dict(pole=0.1, vegetation=0.1),
            pole=dict(trunk=0.1),
            fence=dict(vegetation=0.1, building=0.1),
            building=dict(fence=0.1),
        ),
    )
)
