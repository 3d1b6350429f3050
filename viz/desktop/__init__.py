"""The frontend in a window, and pictures without one: Open3D.

Only this folder imports Open3D. It may import the rest of viz except `web`, and what viz may
import. `system` finds out whether Open3D can draw on this machine and imports it in a child process
only.
"""
