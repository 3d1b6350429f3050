"""Figures as PNG, drawn by matplotlib without a window.

Matplotlib is imported when something is drawn. May import what analysis may.
"""
