"""When training goes wrong: noticed, kept, done again."""
