"""The ``corecrown`` command: typer and rich, one file a command group, no physics."""
