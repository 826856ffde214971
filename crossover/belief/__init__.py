"""What runs say of recipes along scale: of their difference beyond the runs, and of their laws, for advice."""
