"""Photos that harm, made on the spot from seeds, and the door run on each in its own process."""
