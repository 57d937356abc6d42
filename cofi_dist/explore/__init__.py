"""Serve a local web page on which people try one or two models (extra `explore`)."""
