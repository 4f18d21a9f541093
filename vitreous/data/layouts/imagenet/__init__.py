"""ImageNet as it is downloaded, and its variants."""
