"""What a person types: commands, questions to the daemon, tables. The daemon loads none of its tables."""
