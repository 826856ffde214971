"""What to study: params.yaml -> Study, Recipe, Scale, Cell; the plan, fingerprints, costs, table schemas.

The lowest layer: it imports no other stage and neither torch nor pandas, so that a plan costs milliseconds.
"""
