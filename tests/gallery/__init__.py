"""The gallery of the site: published tables, asked at a size that was held back, with what really happened there."""
