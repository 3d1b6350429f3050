"""Writing labels and labelled scans in the formats of other tools; a format is one writer.

May import `datasets`, `files`, `formats` and `importing` of this package.
"""
