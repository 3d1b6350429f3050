"""Writing labels and labelled scans in the formats of other tools."""
