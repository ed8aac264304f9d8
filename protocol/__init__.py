"""The wire: messages, codecs, the error registry and every limit."""
