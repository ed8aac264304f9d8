"""What every program of ours shares: its options, its signals, its reload and its event loop.

Must not know what a program does.
"""
