"""Files to named tensors and back, with no idea of architectures: npz, safetensors, and pickles apart."""
