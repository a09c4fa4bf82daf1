"""The services of Modelkeep. Start them with `modelkeep-server`; nothing here is public."""
