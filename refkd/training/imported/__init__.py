"""Teachers from elsewhere: files of answers, and published checkpoints that give some."""
