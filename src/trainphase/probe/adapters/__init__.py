"""What ties the probe to other libraries: PyTorch, Lightning, the Hugging Face Trainer."""
