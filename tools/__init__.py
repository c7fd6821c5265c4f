"""Programs for the repository; nothing here is part of the package."""
