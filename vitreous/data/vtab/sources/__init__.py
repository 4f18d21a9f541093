"""The data sets of VTAB as their authors publish them, a file each: whole parts, in TensorFlow Datasets' order."""
