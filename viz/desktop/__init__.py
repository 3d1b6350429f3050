"""The frontend in a window, and pictures without one, both drawn by Open3D.

May import the rest of viz except `web`, and what viz may import. Only this folder imports Open3D;
`system` tests in a child process whether it can draw on this machine.
"""
