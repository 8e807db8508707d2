"""Tables and lists for finance, made from issued documents' snapshots alone: streamed, the same bytes each time."""
