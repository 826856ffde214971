"""Tables of anybody's runs: reading them, expressions of their columns, numbers with intervals."""
