"""How long a test waits for something that has to happen.

Far longer than it takes: a test that passes waits no longer for it, and a machine with other work may be
five times as slow, or give a process no CPU for seconds; an environment just made compiles each module of
its packages at the first start. Where the time is what a test is about, it says so itself, and is marked
`timing`.
"""

PATIENCE_SECONDS = 90
REQUEST_SECONDS = 30  # one request, of which a wait may need several
COMMAND_SECONDS = 180  # a command that itself waits for a service
