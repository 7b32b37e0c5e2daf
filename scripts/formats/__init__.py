"""vault/core/FORMAT.md read a second time: every format as a function, for scripts/check_formats.py.

Written from that page, the RFCs and the C2SP texts that it names, with the standard library, `cryptography` and
`zstandard`. Nothing here may ever import anything of ours: two programs that share a mistake agree. So it goes other
ways where it can: canonical JSON is read by a grammar that knows only the one spelling, keys come from a bare HMAC,
paths from the recursive definition. What a reader refuses raises `Refused`.
"""
