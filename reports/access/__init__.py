"""The access review: who saw what, under whose approval, and who was refused."""
