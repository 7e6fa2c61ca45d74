"""A ledger of acknowledged view events against what is counted, while everything is killed.

`python -m tests.faults.ledger --help`; the short forms are in tests/faults/test_counting_ledger.py.
"""
