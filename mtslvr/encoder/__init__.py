"""The encoder: windows of sound to embeddings."""
