"""What papers published about vision transformers, as data: tasks, tables and scores. Nothing here needs PyTorch."""
