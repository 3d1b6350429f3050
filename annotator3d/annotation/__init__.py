"""What people do with queries: labelling and reviewing sessions, and work packages.

`session.LabelSession` is the door; `opening.open_session` makes one from files. No window lives
here: `annotator3d.viz` shows what a session says. May import data and ledger; works without torch.
"""
