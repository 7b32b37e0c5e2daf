"""Law and time: how long a record is kept, and when it may go.

``rules`` reads the law as data, ``period`` counts the days, ``keeping`` joins both for one record. ``vault``
never imports this package; the composition root hands :func:`retention.keeping.keeper` to intake.
"""
