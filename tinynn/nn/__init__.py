"""What a model is made of: activations, initializers, losses and layers."""
