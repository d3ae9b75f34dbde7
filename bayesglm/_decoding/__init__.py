"""What neurons tell: inversion of encoding models, decoders, their scores."""
