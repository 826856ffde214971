"""Which training recipe wins at the scale you cannot afford: answers from anybody's runs."""
