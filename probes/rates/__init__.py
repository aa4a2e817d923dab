"""How fast a machine moves bytes and multiplies matrices: the record of its rates, and their measurement."""
