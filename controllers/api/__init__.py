"""The words that the controller, its Jobs and people share: models, conditions, and the contract with a Job.

Everything here is data and pure functions over data; no I/O happens in this package.
"""
