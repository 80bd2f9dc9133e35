"""Fakes that we own: small, honest stand-ins for what the product talks to."""
