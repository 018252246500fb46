"""The store of jobs, credits and files: knows no HTTP.

`jobs` is the client's side of a job and `leases` the worker's; both write through `store`, over the tables of
`tables`, with an entry of the `ledger` in the same transaction. `submitting` writes together what arrives together,
if there is room (`admission`). Who has the store alone (`hold`) knows what is open from `memory`. `files` says what
is kept of pictures and results, `places` where.
"""
