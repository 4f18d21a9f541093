"""Training without labels: masked patch prediction (ViT paper, appendix B.1.2)."""
