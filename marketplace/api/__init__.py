"""HTTP for programs: JSON in and out, API keys instead of sessions, errors as problem details."""
