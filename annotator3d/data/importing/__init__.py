"""Importing scans in the formats of other tools into the layout that training reads."""
