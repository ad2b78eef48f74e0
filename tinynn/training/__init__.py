"""What happens to a model: batches, optimizers, the training loop, files."""
