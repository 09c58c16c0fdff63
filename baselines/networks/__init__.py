"""Networks: chains of blocks, one file per kind."""
