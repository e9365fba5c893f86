"""Who runs this command, as the operating system says it."""

from __future__ import annotations

import os


def os_user() -> str:
    """`uid:name` of the user whom this process acts for; the name is empty where the system has none.

    It proves as much as a login of this machine does: whoever is root, or may become this user, can
    be anybody here. Under sudo it is root, whoever called it.
    """
    import pwd

    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    return f"{uid}:{name}"
