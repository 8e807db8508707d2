"""What is printed: PDF documents made from an issued invoice's snapshot alone; no model is read."""
