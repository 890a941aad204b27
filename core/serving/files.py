"""How many files a worker may have open, of which each connection is one."""

import resource


def raise_file_limit() -> int:
    """Raise the process's limit as far as the system lets it, and give it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return 2**31 if hard == resource.RLIM_INFINITY else hard
