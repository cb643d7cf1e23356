"""Files and the Hub: models, vectors and tables on a disk."""
