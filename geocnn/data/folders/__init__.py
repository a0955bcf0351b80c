"""A user's folder is recognised, checked, split and written as a data folder, which trainings read."""
