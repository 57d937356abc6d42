"""What runs look like: pictures, and one page that holds everything about a run."""
