"""A small file per kind of log: from files to runs, by what its writer documents, without its library."""
