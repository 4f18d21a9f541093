"""From an image set to batches: order, threads, and what is remembered."""
