"""Makes the gallery: `python -m tests.gallery` runs every command and writes docs/gallery.md and its figures."""

from tests.gallery.making import main

if __name__ == "__main__":
    main()
