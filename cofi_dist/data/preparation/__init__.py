"""From a ratings file to prepared ratings on disk, and back."""
