"""The HTTP APIs of Segment and PostHog, for the SDKs that people have already.

    segment.py      what Segment's messages mean here; RudderStack's SDKs send the same
    posthog.py      what PostHog's events mean here
    message.py      what both need: fields that were not decoded, the tenant, the event
    envelope.py     a body's events, and what is said about all of them
    forms.py        the JSON in a body, whatever its encoding
    stubs.py        what SDKs ask for beside sending
    receiver.py     the handler of both: key, body, events, log, answer

The modules up to `stubs` are pure. An SDK believes exactly 200; it resends, or gives up, after any other
answer. So an event that is not accepted goes to the dead letter, and the answer is 200.
"""
