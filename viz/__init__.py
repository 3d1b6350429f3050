"""The viewer: a labelling session in a window, in a browser, or as one still picture.

The modules here know no toolkit: `keys` is the table of actions, `controller` passes an action to
the session and has a frontend draw the result, `scene_model` turns the session into arrays.
`desktop` (Open3D) and `web` (viser) are the frontends. A frontend holds no labels, so a crash of a
graphics driver loses none. The folder lies at the top of the checkout and is installed as
annotator3d.viz. It may import data, ledger and annotation, never torch; Open3D and viser are
imported when a frontend starts.
"""
