"""What the papers report, as plain data: their tables cell by cell, each with its source and with what repeats it."""
