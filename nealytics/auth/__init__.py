"""What a sender may write, and whose events a reader sees.

Writing needs an API key, which may be bound to a project and a tenant (`api_keys`), or a signed ingest token,
which is bound to both; `writers` decides which `Grant` a request has. Reading needs another signed token,
whose claims fix project and tenant (`jwt`); nothing else in a request can change that `Scope`.
"""
