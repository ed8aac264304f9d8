"""What an identity may do, and how much: rights, limits, and the gate that every call passes."""
