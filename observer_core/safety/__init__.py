"""What keeps the Observer from being hurt, or used to hurt, by what it talks to."""
