"""Published weights: fetched when asked, kept in a cache, chosen where none are named, pushed."""
