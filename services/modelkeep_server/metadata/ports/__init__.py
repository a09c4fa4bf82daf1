"""What the metadata service needs from others, in its own words: its database, one file per noun, and the chunks of blob."""
