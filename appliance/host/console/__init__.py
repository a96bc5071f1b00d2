"""The screen at the server, and who may sign in when nothing else works."""
