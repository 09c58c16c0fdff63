"""What a learning rule needs, found out by intervention: each key is a question in which "yes" is the objection."""
