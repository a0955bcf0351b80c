"""Training: settings, one loop that Lightning runs, and the recipes; Lightning is imported where it runs."""
