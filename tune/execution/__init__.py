"""Ray: how teachers and students are trained, and what the study hears of them."""
