"""The known data sets and how they are downloaded."""
