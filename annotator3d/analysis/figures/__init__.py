"""Figures as PNG, drawn by matplotlib without a window; importing a module loads none of it."""
