"""Charts in the house style, and the page of an answer."""
