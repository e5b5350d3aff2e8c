"""How hidden activities are relaxed, an engine a file."""
