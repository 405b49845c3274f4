"""Both ends of a picture: what a cluster needs of a prompt, and what its result looks like."""
