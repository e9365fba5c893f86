"""The page in a real Chromium. A package, so that the browser ends with the last of these tests: while
Playwright runs in a thread, no other test can have an event loop there.
"""
