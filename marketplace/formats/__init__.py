"""How values are written, by language, where Django's own way is another than our pages' (FORMAT_MODULE_PATH)."""
