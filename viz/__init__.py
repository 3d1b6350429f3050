"""The oracle's viewer: skins over `annotator3d.annotation.session`, in a window or in a browser.

A skin draws what the session says and passes keys and clicks on to it. It holds no labels, so that
a crash of a graphics driver loses nothing. Open3D and viser are imported when a skin starts.
"""
