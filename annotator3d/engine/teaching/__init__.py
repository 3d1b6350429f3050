"""What the answers and predictions of a run teach its scans: over the pool, kept on disk, renewed
where it changed.

`posed_scans` is where the scans were taken, `classes` what may be taught, `keys` what the labels
of a scan depend on, `reading` what is read for them, `agreement` what predictions add. `renew`
makes them before an epoch (`hook`), `audit` says how good they are and whose pose is wrong.
"""
