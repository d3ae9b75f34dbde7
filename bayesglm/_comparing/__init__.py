"""Which model predicts better, by how much, and whether that can be told."""
