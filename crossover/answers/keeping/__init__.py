"""May a change be kept: evidence that may be looked at after every run, the verdict, and the series of changes."""
