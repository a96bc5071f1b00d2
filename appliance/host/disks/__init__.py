"""Its disks: what they are, a second one for data, room that is kept, and the factory reset."""
