"""What all programs tell the person who runs them: a vocabulary of events, two ways to write them, and folding.

Knows logging; must not know when an event happens, nor any program's insides.
"""
