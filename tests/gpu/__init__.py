"""Ten minutes on a GPU: `make gpu-pack`, `make gpu`, `make gpu-take`. See `tests.gpu.__main__`."""
