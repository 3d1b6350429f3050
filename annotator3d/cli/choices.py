"""Choices that the help of the options names.

Copies of what other rooms define, since help must be quick and work where numpy or torch does not;
tests/cli/test_commands.py compares them with the originals.
"""

DEVICES = ("auto", "cpu", "cuda")  # engine.config.schema
DOMAINS = ("ideal", "hdl64")  # data.simulator.domains
SCAN_FORMATS = ("bin", "pcd", "ply", "las", "laz", "npy", "npz")  # data.formats.registry
AUTO = "auto"  # data.formats.registry
LABEL_FORMATS = ("semantickitti", "lidarseg", "las", "laz", "ply")  # data.exporting.writers
ORDERS = ("scan", "score", "round", "points", "random")  # annotation.queue
OFFERS = ("uniform", "all", "off")  # annotation.proposals
COLOURS = ("height", "intensity", "prediction", "answer", "confusion")  # viz.colours
VIEWS = ("sensor", "above", "side")  # viz.camera
BACKGROUNDS = ("dark", "light")  # viz.colours
