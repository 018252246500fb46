"""The store of jobs, credits and files: knows no HTTP.

`jobs` is the client's side of a job and `leases` the worker's; both write through `store`, over the tables of
`tables`, with an entry of the `ledger` in the same transaction. `files` keeps pictures and results.
"""
