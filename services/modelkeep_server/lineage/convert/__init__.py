"""From messages to values and back, one file per noun. What comes in is checked here, once."""
