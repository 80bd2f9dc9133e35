"""Nealytics: multi-tenant telemetry with a durable log in front of ClickHouse."""

__version__ = "2.0.0"
