"""What a study file says: its sections, its space, and where its URLs lead."""
