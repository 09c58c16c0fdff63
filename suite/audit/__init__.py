"""What a learning rule needs, found out by intervention. Each key is a question; "yes" is the objection."""
