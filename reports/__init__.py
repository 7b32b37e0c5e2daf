"""Evidence on paper: figures (``statistics``) -> ``model`` -> ``render`` -> one PDF/A-3u file that stands on
its own.

Nothing in this package decides whether the vault is sound; it prints what was collected, and says what was
not.
"""
