"""The service on a Ray cluster: one `Api`, which keeps the books, and painters wherever there is room for them.

Ray places, watches, restarts and counts them. Of these modules only `plan` and `painter` can be imported without Ray.
"""
