"""What turns pure stages into a running Observer: engine, handlers, settings, health."""
