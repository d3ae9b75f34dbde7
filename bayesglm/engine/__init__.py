"""What is linear in its weights, fast; and diagnostics of draws: arrays in, arrays out."""
