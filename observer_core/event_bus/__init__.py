"""Event Bus: patterns of many sources become one ordered stream of events, incidents and subscriptions."""
