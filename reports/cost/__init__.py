"""The cost report: tokens, fees, batches, caches and latency, as the records say. Nothing is estimated."""
