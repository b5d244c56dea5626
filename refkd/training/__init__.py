"""Training: one epoch loop for teachers and students, and what it leaves on disk."""
