"""From losses to answers: laws, paired differences, optima. Run as `python -m stages.fit STUDY SCALE`."""
