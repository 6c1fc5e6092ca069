"""Pictures: files, folders, drawing, colours."""
