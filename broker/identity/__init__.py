"""Who is at the other end: the access file, tokens, keys and certificates, and what they prove."""
