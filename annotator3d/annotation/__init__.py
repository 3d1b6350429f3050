"""What people do with queries: labelling and reviewing sessions, and work packages.

Start reading at `session.LabelSession`; `opening.open_session` makes one from files. There are no
windows here: `annotator3d.viz` shows a session. May import data and ledger; needs no torch.
"""
