"""What SDKs ask for beside sending events: settings, and feature flags. There are none, and that is an answer
which they accept without retrying."""

from typing import Any


def segment_settings(key: str) -> dict[str, Any]:
    """For analytics.js: nothing but events to this server."""
    return {
        "integrations": {"Segment.io": {"apiKey": key, "unbundledIntegrations": []}},
        "plan": {"track": {}},
    }


def posthog_config(token: str) -> dict[str, Any]:
    """For posthog-js: every feature that needs PostHog's server is off."""
    return {
        "token": token,
        "supportedCompression": ["gzip", "gzip-js"],
        "analytics": {"endpoint": "/i/v0/e/"},
        "hasFeatureFlags": False,
        "autocaptureExceptions": False,
        "captureDeadClicks": False,
        "capturePerformance": False,
        "conversations": False,
        "elementsChainAsString": True,
        "errorTracking": {"autocaptureExceptions": False, "suppressionRules": []},
        "heatmaps": False,
        "logs": {"captureConsoleLogs": False},
        "productTours": False,
        "sessionRecording": False,
        "siteApps": [],
        "surveys": False,
        "defaultIdentifiedOnly": True,
    }


def posthog_flags() -> dict[str, Any]:
    """The answer about feature flags, in the forms of all versions."""
    return {
        "flags": {},
        "featureFlags": {},
        "featureFlagPayloads": {},
        "errorsWhileComputingFlags": False,
        "sessionRecording": False,
        "supportedCompression": ["gzip", "gzip-js"],
        "siteApps": [],
    }
