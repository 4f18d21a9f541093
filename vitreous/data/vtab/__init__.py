"""The nineteen tasks of VTAB, from whatever holds their images: lists, original files, tar shards, or a drawing."""
