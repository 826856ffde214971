"""How large a model, and how many tokens, for a budget of compute: by a law, and by parabolas at equal compute."""
