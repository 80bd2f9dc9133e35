"""How Nealytics is watched: its own metrics and logs. (Customers' events are "telemetry", not this.)"""
