"""The connected workers, the commands that they serve, and the pools in which a strategy picks one of them."""
