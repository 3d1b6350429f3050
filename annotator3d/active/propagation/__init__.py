"""What is taught of points that nobody was asked about: pure functions of arrays.

`places` is where points lie in the world, `sight` what a scan sees through, `teaching` how answers
reach other scans through the poses, `surface` how they spread within their own scan, `agreement`
what predictions on which scans agree add, `lesson` all of it for one scan, and `audit` how often
that was right.
"""
