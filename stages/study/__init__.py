"""What to study: params.yaml -> Study, Recipe, Scale, Cell; the plan; fingerprints; records; the store; costs.

The lowest layer: it imports no other stage and neither torch nor pandas, so that a plan costs milliseconds.
"""
