"""Shards and archives on web servers and in object stores, read by ranges."""
