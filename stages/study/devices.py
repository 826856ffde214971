"""What kind of processor a record names."""

_GPUS = ("NVIDIA", "Tesla", "GeForce", "Quadro", "AMD Instinct", "AMD Radeon")


def is_gpu(name: str) -> bool:
    """Whether a device's marketing name is that of a GPU."""
    return name.startswith(_GPUS)
