"""The report on retention and holds: what is kept until when and why, what is due, what is held, what was destroyed."""
