"""The service, measured over the wire: its own processes, a load process of its own, loopback between them."""
