"""The threshold report: which decisions lay below their threshold, which of them executed without anybody's agreement,
and how many more another threshold would have sent to review.
"""
