"""What a sender may write, and whose events a reader sees.

Writing needs an API key, which may be bound to a project and a tenant (`api_keys`). Reading needs a signed
token, whose claims fix project and tenant (`jwt`); nothing else in a request can change that `Scope`.
"""
