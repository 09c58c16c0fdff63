"""From records to pages. Nothing here imports torch."""
