"""The commands of a checkout, one file each, named as the command."""
