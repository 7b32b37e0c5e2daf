"""The routes, one room a noun. Each parses, calls one verb, and spells what the verb returned."""
