"""The record: one append-only SQLite file of every question and every answer of a run.

Here, and only here, is SQL. `Ledger` is what other rooms take; `records` and `schema` have the
values that go in and come out (`Answer`, `Query`, `Event`, `EventKind`, ...), `resolution` has the
rules that decide the outcome of a query, and `maintenance` works on whole files. This room imports
`data` only, and never torch: people label on machines that have none.
"""
